"use strict";
/* Outbox: keeps a user's barks until the outbox has acked them, and sends them again after a break.
 *
 * As in barker/delivery/window.py. Nothing in this file touches the document.
 *
 * Global: Outbox. Uses: Peers.
 */

const Outbox = (() => {
  // Barks of one user that wait for an outbox. A person types no more while it is away; a loop might.
  const MAX_UNSENT = 100;

  /** Hands a user's barks to the outbox. `on`: settled(bark), refused(bark, reason), waits(bark, reason).
   *
   *     waiting: not sent on this link | unacked: numbers `first`, first + 1, ... of this link
   *
   * A number belongs to one connection. After a break all unacked barks go out again, in order and before any
   * new one, and no reader sees one twice, because a bark keeps its id. A bark that is refused for the
   * moment goes out again, too, and no later one goes before it. Only a join that is not decided yet holds
   * up nothing. */
  class Writer extends Peers.Peer {
    constructor(user, directory, on) {
      super("outbox", user, directory, on);
      this.first = 1;
      this.unacked = []; // null for a refused one: settled, but no ack has covered its number
      this.waiting = [];
      this.later = []; // refused for the moment
      this.undecided = []; // joins
      this.noRoom = ""; // the outbox's reason, while it has none for us
    }

    get barks() {
      return [...this.later, ...this.undecided, ...this.unacked.filter(Boolean), ...this.waiting];
    }

    say(bark) {
      this.waiting.push(bark);
      this.pump();
    }

    up() {
      this.waiting.unshift(...this.later.splice(0), ...this.unacked.filter(Boolean));
      this.unacked = [];
      this.first = 1;
      this.pump();
    }

    pump() {
      if (!this.dialer?.up || this.later.length) return;
      for (const bark of this.waiting.splice(0)) {
        const seq = this.first + this.unacked.length;
        this.unacked.push(bark);
        const trace = [bark.kind ? "" : bark.id]; // barks are followed: way.js
        this.dialer.send({ op: "put", seq, to: [this.address], trace, bodies: [bark] });
      }
    }

    message(message) {
      if (message.op === "ack") this.acked(message.seq);
      else if (message.op === "refuse") this.refused(message);
    }

    /** The outbox is responsible for all up to `seq` now. */
    acked(seq) {
      const settled = this.unacked.splice(0, Math.max(0, seq - this.first + 1));
      this.first += settled.length;
      this.noRoom = "";
      for (const bark of settled) if (bark) this.on.settled(bark);
    }

    refused({ seq, code, reason }) {
      const bark = this.unacked[seq - this.first];
      if (!bark) return;
      this.unacked[seq - this.first] = null;
      if (code === "moved" || code === "full") {
        this.later.push(bark);
        if (code === "full") this.noRoom = reason;
        if (this.later.length === 1) setTimeout(() => this.sayAgain(), Peers.RETRY_MS);
      } else if (code === "undecided") {
        this.undecided.push(bark);
        if (this.undecided.length === 1) setTimeout(() => this.askAgain(), Peers.RETRY_MS);
        this.on.waits(bark, reason);
      } else {
        this.on.refused(bark, reason);
      }
    }

    askAgain() {
      this.waiting.push(...this.undecided.splice(0));
      this.pump();
    }

    sayAgain() {
      if (this.unacked.length) { // some barks behind them have no answer yet
        setTimeout(() => this.sayAgain(), Peers.RETRY_MS);
        return;
      }
      this.waiting.unshift(...this.later.splice(0)); // older than all unsent ones
      this.pump();
    }
  }

  return { MAX_UNSENT, Writer };
})();
