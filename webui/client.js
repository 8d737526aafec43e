"use strict";

/* What the page does with its links: find the two manifolds of a user, read the one, write to the other.
 *
 *     Seen        what has been shown
 *     Reader      the inbox: subscribe, receive, ack; remembers its place and what it has shown
 *     Writer      the outbox: put until acked; keeps what is not, and sends it again
 *     PageClient  directory, reader and writers for the user whose view is shown; `connect` makes it
 *
 * All is as in barker/client/reader.py and barker/delivery/window.py. Nothing in this file touches the document.
 *
 * Global: Client. Uses: Link, Peers.
 */

const Client = (() => {
  // A message names its page in the services' logs.
  const PAGE_NAME = "page-" + Link.randomHex(4);

  // How many entries of the past a new view begins with.
  const HISTORY = 25;
  // Messages that may be on their way to us. We ack once for a quarter of it: an ack settles nothing
  // here, it only lets the inbox send more. A page that is too slow lags, and in the end gets a gap.
  const WINDOW = 256;
  // Barks remembered of each instance that has served the inbox, so that each is shown once: after a
  // restart or a move all that an instance retains may come again. It says how much that is; these are
  // the least and the most, which is what --keep allows (barker/delivery/streams.py).
  const REMEMBERED = 4000;
  const MAX_REMEMBERED = 100_000;
  // Instances of which so much is remembered; of more, the one that served the inbox longest ago is
  // forgotten.
  const REMEMBERED_OWNERS = 4;
  // Barks of one user that wait for an outbox. Nobody types more while it is away; a loop might.
  const MAX_UNSENT = 100;
  // After `moved` or `full`: about as long as a change of routes takes to get round.
  const ASK_AGAIN_MS = 200;

  // What the services take for a name (barker/wire/protocol.py); who sends another is disconnected.
  const USER_NAME = /^[a-z][a-z0-9_]{0,19}$/;

  const barkKey = (bark) => `${bark.user}/${bark.id}`;

  /** What has been shown, by key, for each instance that has sent it: the last that it retains, at
   *  least, and twice as many at most. As in barker/client/reader.py. */
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

  /** Reads one inbox. `on`: bark(bark), suggestion(body), gap(missed), refused(reason). */
  class Reader extends Peers.Peer {
    constructor(user, directory, on) {
      super("inbox", user, directory, on.changed);
      this.on = on;
      this.epoch = null; // whose serials these are: with another manifold we begin anew
      this.serial = 0;
      this.unacked = 0;
      this.seen = new Seen();
      // Of the first answer: what there was before we came, up to the serial `last`. We show the end
      // of it, but know all of it, since another manifold would send all of it again.
      this.past = null;
      this.last = 0;
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
      else if (message.op === "unreadable") this.on.refused(message.reason);
      else if (message.op === "moved") this.askAgain();
    }

    /** Where the answer begins. Even if nothing was barked yet: whoever holds the inbox next is to
     *  send what comes after this place, not what a new reader would get. */
    begin({ epoch, serial, last, retained }) {
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
      const past = this.past || [];
      this.past = null;
      for (const body of past.slice(-HISTORY)) this.on.bark(body);
    }

    /** For each body the streams that it goes to, or once for all. An entry of ours is one serial more. */
    readMany({ to, bodies }) {
      for (const [i, body] of bodies.entries()) {
        const streams = to[to.length === bodies.length ? i : 0].split(" ");
        if (streams.includes(this.address)) this.read(body);
      }
    }

    /** So many entries are no longer there. */
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
        else this.on.bark(body);
      }
      if (this.past && serial >= this.last) this.showPast();
    }

    /** Our inbox is another's now. The directory will say whose; if it was a false alarm, or if we have
     *  heard the news before this one has, then here is still the place to ask. */
    askAgain() {
      setTimeout(() => { if (!this.closed && this.dialer.up) this.up(); }, ASK_AGAIN_MS);
    }
  }

  /** Hands a user's barks to the outbox. `on`: settled(bark), refused(bark, reason).
   *
   *     waiting: not sent on this link | unacked: numbers `first`, first + 1, ... of this link
   *
   * A number belongs to one connection. After a break everything unacked goes out again, in order and
   * before anything new, and nobody sees it twice, because a bark keeps its id. What is refused for the
   * moment goes out again, too, and until then nothing goes that was said after it. */
  class Writer extends Peers.Peer {
    constructor(user, directory, on) {
      super("outbox", user, directory, on.changed);
      this.on = on;
      this.first = 1;
      this.unacked = []; // null where one was refused: settled, but its number is still to be passed
      this.waiting = [];
      this.later = []; // refused for the moment
    }

    /** Everything that nobody has taken over yet. */
    get barks() {
      return [...this.later, ...this.unacked.filter(Boolean), ...this.waiting];
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
      for (const bark of settled) if (bark) this.on.settled(bark);
    }

    refused({ seq, code, reason }) {
      const bark = this.unacked[seq - this.first];
      if (!bark) return;
      this.unacked[seq - this.first] = null;
      if (code === "moved" || code === "full") {
        this.later.push(bark);
        if (this.later.length === 1) setTimeout(() => this.sayAgain(), ASK_AGAIN_MS);
      } else {
        this.on.refused(bark, reason);
      }
    }

    sayAgain() {
      if (this.unacked.length) { // some of what was on its way behind them has no answer yet
        setTimeout(() => this.sayAgain(), ASK_AGAIN_MS);
        return;
      }
      this.waiting.unshift(...this.later.splice(0)); // older than all that was not sent yet
      this.pump();
    }
  }

  /** Reads for one user and writes for any. `on`: changed(), bark(bark), suggestion(body), gap(missed),
   *  settled(bark), refused(bark, reason), noSuchUser(reason). What is said may be an event, too. */
  class PageClient {
    constructor(place, { secret, tls }, on) {
      this.on = on;
      this.identity = { name: PAGE_NAME, secret, tls };
      this.directory = new Peers.Directory(place, this.identity, on.changed);
      this.reader = null;
      this.following = null; // follow.js
      this.writers = new Map();
    }

    view(user) {
      this.reader?.close();
      const old = this.user;
      this.user = user;
      this.letGo(old);
      this.reader = null;
      if (!USER_NAME.test(user)) return;
      this.reader = new Reader(user, this.directory, {
        changed: this.on.changed,
        bark: this.on.bark,
        suggestion: this.on.suggestion,
        gap: this.on.gap,
        refused: this.on.noSuchUser,
      });
      this.writer(user);
    }

    writer(user) {
      if (!this.writers.has(user)) {
        this.writers.set(user, new Writer(user, this.directory, {
          changed: this.on.changed,
          settled: (bark) => { this.on.settled(bark); this.letGo(user); },
          refused: (bark, reason) => { this.on.refused(bark, reason); this.letGo(user); },
        }));
      }
      return this.writers.get(user);
    }

    /** A writer outlives its view only for as long as it holds barks. */
    letGo(user) {
      const writer = this.writers.get(user);
      if (writer && user !== this.user && !writer.barks.length) {
        writer.close();
        this.writers.delete(user);
      }
    }

    say(bark) {
      this.writer(bark.user).say(bark);
    }

    /** All barks that nobody has taken over yet. */
    get unsent() {
      return [...this.writers.values()].flatMap((writer) => writer.barks);
    }

    /** The settings are others than before: perhaps the system was started anew elsewhere. */
    settle(place, { secret, tls }) {
      Object.assign(this.identity, { secret, tls });
      this.directory.moveTo(place);
    }

    hurry() {
      const peers = [this.directory, this.reader, this.following, ...this.writers.values()];
      for (const peer of peers) peer?.dialer?.hurry();
    }

    get services() {
      const peers = [this.directory, this.reader, this.writers.get(this.user), this.following];
      return peers.filter(Boolean).map((peer) => peer.status);
    }
  }

  const connect = (place, settings, on) => new PageClient(place, settings, on);

  return { MAX_UNSENT, REMEMBERED, Reader, USER_NAME, Writer, barkKey, connect };
})();
