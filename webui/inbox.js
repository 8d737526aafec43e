"use strict";
/* Inbox: reads one inbox wherever it is, and shows every bark once.
 *
 *     Seen        the barks that were shown
 *     Reader      subscribes, receives, acks; remembers its place and the barks that it has shown
 *
 * As in barker/client/reader.py. Nothing in this file touches the document.
 *
 * Global: Inbox. Uses: Peers.
 */

const Inbox = (() => {
  // Entries of the past with which a new view begins.
  const HISTORY = 25;
  // Messages that may be on their way to us. We ack once for a quarter of it: an ack settles nothing
  // here, it only lets the inbox send more. A page that is too slow lags, and in the end gets a gap.
  const WINDOW = 256;
  // Barks remembered of each instance that has served the inbox, so that each is shown once: after a
  // restart or a move all that an instance retains may come again. It reports that number; these are the
  // bounds, of which the upper is that of --keep (barker/streams/stream.py).
  const REMEMBERED = 4000;
  const MAX_REMEMBERED = 100_000;
  // Instances whose barks are remembered; beyond it, the one that served the inbox longest ago is
  // forgotten.
  const REMEMBERED_OWNERS = 4;

  const barkKey = (bark) => `${bark.user}/${bark.id}`;

  /** The barks that were shown, by key, for each instance that has sent them: the last ones, at least as
   *  many as it retains, and at most twice as many. As in barker/client/reader.py. */
  class Seen {
    constructor() {
      this.owners = new Map(); // name -> {least, young, old}; the last is the one that answered last
    }

    /** That instance answers from now on, and up to `retained` entries of it may come again. */
    servedBy(name, retained) {
      const keys = this.owners.get(name) ?? { young: new Set(), old: new Set() };
      keys.least = Math.max(REMEMBERED, Math.min(retained, MAX_REMEMBERED));
      this.owners.delete(name);
      this.owners.set(name, keys);
      if (this.owners.size > REMEMBERED_OWNERS) this.owners.delete(this.owners.keys().next().value);
    }

    /** Remember a bark for the instance that has sent it last; false if it is known from any. */
    isNew(key) {
      let known = false, keys;
      for (keys of this.owners.values()) known ||= keys.young.has(key) || keys.old.has(key);
      if (keys && !keys.young.has(key)) {
        // Two generations: when the young one is full it becomes the old one, which is forgotten.
        if (keys.young.size >= keys.least) [keys.old, keys.young] = [keys.young, new Set()];
        keys.young.add(key);
      }
      return !known;
    }
  }

  /** Reads one inbox. `on`: changed(), bark(bark, isPast), caughtUp(), suggestion(body), gap(missed),
   *  refused(reason). With the `place` of an earlier reader it goes on where that one was. */
  class Reader extends Peers.Peer {
    constructor(user, directory, on, place) {
      super("inbox", user, directory, on);
      this.epoch = place?.epoch ?? null; // of the serials: with another manifold we begin anew
      this.serial = place?.serial ?? 0;
      this.unacked = 0;
      this.noRoom = ""; // the inbox's reason, while it has none for us
      this.seen = place?.seen ?? new Seen();
      // Of the first answer: the past up to the serial `last`. We show the end of it, but know all of
      // it, since another manifold would send all of it again.
      this.past = null;
      this.last = 0;
    }

    get caughtUp() {
      return this.epoch !== null && this.past === null;
    }

    get place() {
      const { epoch, serial, seen } = this;
      return this.caughtUp ? { epoch, serial, seen } : undefined;
    }

    up() {
      this.unacked = 0;
      this.dialer.send({
        op: "subscribe", address: this.address, epoch: this.epoch, after: this.serial,
        history: Number.MAX_SAFE_INTEGER, window: WINDOW,
      });
    }

    message(message) {
      if (message.op === "message") this.readMany(message);
      else if (message.op === "subscribed" && message.address === this.address) this.begin(message);
      else if (message.op === "gap") this.skip(message.missed);
      else if (message.op === "unreadable") this.unreadable(message);
      else if (message.op === "moved") this.askAgain(Peers.RETRY_MS);
    }

    /** The answer to `subscribe`. It gives us a place even before the first bark: the next instance of the
     *  inbox must send the entries behind it, and not those for a new reader. */
    begin({ epoch, serial, last, retained }) {
      this.noRoom = "";
      this.seen.servedBy(this.target.name, retained ?? 0);
      const changed = this.epoch !== null && this.epoch !== epoch;
      if (this.epoch === null) {
        this.past = [];
        this.last = last;
      }
      this.epoch = epoch;
      this.serial = serial;
      if (changed || serial >= this.last) this.showPast();
    }

    showPast() {
      const past = this.past ?? [];
      this.past = null;
      for (const body of past.slice(-HISTORY)) this.on.bark(body, true);
      this.on.caughtUp();
    }

    /** For each body the streams that it goes to, or once for all. An entry of ours is one serial more. */
    readMany({ to, bodies }) {
      for (const [i, body] of bodies.entries()) {
        const streams = to[to.length === bodies.length ? i : 0].split(" ");
        if (streams.includes(this.address)) this.read(body);
      }
    }

    skip(missed) {
      this.serial += missed;
      this.on.gap(missed);
    }

    read(body) {
      const serial = this.serial += 1;
      this.unacked += 1;
      if (this.unacked >= WINDOW / 4) {
        this.unacked = 0;
        this.dialer.send({ op: "credit", address: this.address, serial });
      }
      if (this.seen.isNew(barkKey(body))) {
        if (body.kind === "suggestion") this.on.suggestion(body); // also an old one: it still stands
        else if (this.past) this.past.push(body);
        else this.on.bark(body, false);
      }
      if (this.past && serial >= this.last) this.showPast();
    }

    /** There is no such user; or there is, and the inbox has no room for one more reader. */
    unreadable({ code, reason }) {
      if (!Peers.LATER.has(code)) return this.on.refused(reason);
      this.noRoom = reason;
      this.on.changed();
      this.askAgain(Peers.LATER_MS);
    }
  }

  return { REMEMBERED, Reader, barkKey };
})();
