"use strict";
/* The page's links: for the user of the view, it reads from the inbox, writes to the outbox, and reads
 * from the followers service.
 *
 * Nothing in this file touches the document.
 *
 * Global: Client. Uses: Link, Peers, Inbox, Outbox.
 */

const Client = (() => {
  // The services' rule for names (barker/wire/protocol.py). A client that sends another name is
  // disconnected.
  const USER_NAME = /^[a-z][a-z0-9_]{0,19}$/;
  const NAME_RULES = "A name is 1 to 20 of a–z, 0–9 and _, and begins with a letter.";

  /** Reads for one user and writes for any. `on`: changed(), bark(bark, isPast), caughtUp(),
   *  suggestion(body), gap(missed), settled(bark), refused(bark, reason), waits(join, reason),
   *  noSuchUser(reason), moved(role, from, to): another outbox or inbox keeps what its user says. A settled or refused "bark" may be an event, too. */
  class PageClient {
    constructor(place, { key, tls }, on) {
      this.on = on;
      this.identity = { name: Link.PAGE_NAME, key, tls };
      this.directory = new Peers.Directory(place, this.identity, on.changed);
      this.reader = null;
      this.following = null; // follow.js
      this.writers = new Map();
      this.bizlogic = new Peers.Presence("bizlogic", this.directory, on.changed);
    }

    /** Read for this user from now on; with an earlier reader's `place`, from there on. */
    view(user, place) {
      this.reader?.close();
      const old = this.user;
      this.user = user;
      this.letGo(old);
      this.reader = null;
      if (!USER_NAME.test(user)) return;
      const { changed, bark, caughtUp, suggestion, gap, moved, noSuchUser: refused } = this.on;
      const on = { changed, bark, caughtUp, suggestion, gap, moved, refused };
      this.reader = new Inbox.Reader(user, this.directory, on, place);
      this.writer(user);
    }

    writer(user) {
      if (!this.writers.has(user)) {
        this.writers.set(user, new Outbox.Writer(user, this.directory, {
          changed: this.on.changed,
          settled: (bark) => { this.on.settled(bark); this.letGo(user); },
          refused: (bark, reason) => { this.on.refused(bark, reason); this.letGo(user); },
          waits: this.on.waits,
          moved: (...move) => { if (user === this.user) this.on.moved(...move); },
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

    get unsent() {
      return [...this.writers.values()].flatMap((writer) => writer.barks);
    }

    /** Take over new settings: perhaps the system was started anew elsewhere. */
    settle(place, { key, tls }) {
      Object.assign(this.identity, { key, tls });
      this.directory.moveTo(place);
    }

    hurry() {
      const peers = [this.directory, this.reader, this.following, ...this.writers.values()];
      for (const peer of peers) peer?.dialer?.hurry();
    }

    /** A bark of this user has not come back: have the services report what they wait for. */
    askWhy() {
      for (const peer of [this.reader, this.writers.get(this.user), this.following]) peer?.askWhy();
    }

    /** In this order: directory, inbox, outbox, graph, bizlogic; without those that are missing. */
    get services() {
      const { directory, reader, following, bizlogic } = this;
      const peers = [directory, reader, this.writers.get(this.user), following, bizlogic];
      return peers.filter(Boolean).map((peer) => peer.status);
    }
  }

  return { NAME_RULES, PageClient, USER_NAME };
})();
