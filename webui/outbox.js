"use strict";

/* Outbox: keeps what a user says until the outbox has acked it, and sends it again after a break.
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
   * A number belongs to one connection. After a break everything unacked goes out again, in order and
   * before anything new, and no reader sees it twice, because a bark keeps its id. What is refused for the
   * moment goes out again, too, and until then nothing goes that was said after it; but for a join that
   * is not decided yet, which holds up nothing. */
  class Writer extends Peers.Peer {
    constructor(user, directory, on) {
      super("outbox", user, directory, on);
      this.first = 1;
      this.unacked = []; // null where one was refused: settled, but its number is still to be passed
      this.waiting = [];
      this.later = []; // refused for the moment
      this.undecided = []; // joins
      this.noRoom = ""; // the outbox's reason, while it has none for us
    }

    /** Everything that no outbox has acked yet. */
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
        this.dialer.send({ op: "put", seq, to: [this.address], bodies: [bark] });
      }
    }

    message(message) {
      if (message.op === "ack") this.acked(message.seq);
      else if (message.op === "refuse") this.refused(message);
    }

    /** Up to `seq`, all is the outbox's responsibility now. */
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
      if (this.unacked.length) { // some of what was on its way behind them has no answer yet
        setTimeout(() => this.sayAgain(), Peers.RETRY_MS);
        return;
      }
      this.waiting.unshift(...this.later.splice(0)); // older than all that was not sent yet
      this.pump();
    }
  }

  return { MAX_UNSENT, Writer };
})();
