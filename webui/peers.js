"use strict";
/* Which service serves an address, and a link to it for as long as it does.
 *
 *     Directory   resolves an address such as inbox/ark3, and notifies at each change of the answer
 *     Peer        the service that serves one address now, and the link to it
 *     Presence    whether a service is registered, without a link to it
 *
 * The page holds no ring: the directory chooses the instance for it. Nothing in this file touches the
 * document.
 *
 * Global: Peers. Uses: Link.
 */

const Peers = (() => {
  // After `moved`, a retry comes so much later: about as long as a change of routes takes to reach all.
  const RETRY_MS = 200;
  // If a stream can't be read for lack of room, it is requested again after this. Other reasons are final.
  const LATER = new Set(["full", "too-many"]);
  const LATER_MS = 1000;
  // Faults that waiting does not mend: a person has to act.
  const LASTING = new Set(["bad-proof", "bad-version", "settings", "origin", "refused"]);

  /** The link to the directory; only its address has to be known beforehand. */
  class Directory {
    constructor(place, identity, changed) {
      this.identity = identity;
      this.changed = changed;
      this.wanted = new Map(); // address -> a function, called with each answer
      this.routes = new Map(); // watched service -> the names of its instances
      this.moveTo(place);
    }

    moveTo(place) {
      this.place = place;
      this.dialer?.close();
      this.dialer = new Link.Dialer(place, this.identity, null, {
        up: () => {
          for (const prefix of this.routes.keys()) this.dialer.send({ op: "watch", prefix });
          for (const address of this.wanted.keys()) this.dialer.send({ op: "resolve", address });
          this.changed();
        },
        message: (message) => {
          // Also of addresses that are not wanted any more: there is no message to stop it.
          if (message.op === "target") this.wanted.get(message.address)?.(message);
          if (message.op === "routes") this.routed(message);
        },
        down: () => this.changed(),
      });
    }

    follow(address, found) {
      this.wanted.set(address, found);
      this.dialer.send({ op: "resolve", address });
    }

    /** Know the instances of a service from now on. At a change they are known before any `target`. */
    watch(service) {
      this.routes.set(service, []);
      this.dialer.send({ op: "watch", prefix: service });
    }

    routed({ address, targets }) {
      if (this.routes.has(address)) this.routes.set(address, targets.map(({ name }) => name));
      this.changed();
    }

    close() {
      this.dialer.close();
    }

    get status() {
      return { role: "directory", name: "directory", ...describe(this.dialer, this.place) };
    }
  }

  /** The state of a link: `state` is up, trying or offline. */
  function describe(dialer, place) {
    const lasting = LASTING.has(dialer.fault?.code);
    const state = dialer.up ? "up" : dialer.offline || lasting ? "offline" : "trying";
    return { state, place: Link.written(place), fault: dialer.fault };
  }

  /** The service that serves one address now. Subclasses read and write the messages, and call the other
   *  functions of `on`; this calls changed(), and moved(role, from, to) where there is one. */
  class Peer {
    constructor(role, user, directory, on) {
      this.on = on;
      this.role = role;
      this.address = user ? `${role}/${user}` : role;
      this.directory = directory;
      this.target = null;
      this.dialer = null;
      this.begun = performance.now();
      this.unserved = false; // the directory knows no service for it
      this.asked = false; // was it asked why it lets us wait?
      this.waits = ""; // its answer
      directory.follow(this.address, (target) => this.found(target));
    }

    found(target) {
      const { role } = this;
      this.unserved = target.name === null;
      const old = this.target;
      const same = old && ["name", "host", "port"].every((key) => old[key] === target[key]);
      // "None" is no reason to drop a link that lives: perhaps the directory has lost sight of the
      // service. And if it is dead, dialling it does no harm until there is a better address.
      if (!this.unserved && !same) {
        if (old && old.name !== target.name) this.on.moved?.(role, old.name, target.name);
        this.target = target;
        this.dialer?.close();
        this.dialer = new Link.Dialer(target, this.directory.identity, target.name, {
          up: () => { this.asked = false; this.waits = ""; this.up(); this.on.changed(); },
          message: (message) => (message.op === "sample" ? this.sampled(message.body) : this.message(message)),
          down: () => this.on.changed(),
        });
      } else if (same) {
        this.dialer.hurry();
      }
      this.on.changed();
    }

    /** Have the service report what it waits for, from now on. */
    askWhy() {
      if (this.asked || !this.dialer?.up) return;
      this.asked = true;
      this.dialer.send({ op: "subscribe", address: `agent/${this.target.name}` });
    }

    sampled({ waits = "" }) {
      if (this.waits === waits) return;
      this.waits = waits;
      this.on.changed();
    }

    /** Retry in a moment, unless another instance has the address by then. */
    askAgain(delay) {
      setTimeout(() => { if (!this.closed && this.dialer.up) this.up(); }, delay);
    }

    close() {
      this.directory.wanted.delete(this.address);
      this.dialer?.close();
      this.closed = true;
    }

    get status() {
      const { role, target, unserved, waits } = this;
      if (target) return { role, name: target.name, unserved, waits, ...describe(this.dialer, target) };
      const late = performance.now() - this.begun > Link.OFFLINE_AFTER_MS;
      return { role, name: role, unserved, state: late ? "offline" : "trying", place: "", fault: null };
    }
  }

  /** The directory's knowledge of a service to which the page has no link, as an item among the links. */
  class Presence {
    constructor(role, directory, changed) {
      Object.assign(this, { role, directory });
      this.target = undefined; // until the directory has answered
      directory.follow(role, (target) => { this.target = target; changed(); });
    }

    /** `state` is up (registered), offline (none is), or unknown while the directory is away. */
    get status() {
      const { role, target } = this;
      const known = target !== undefined && this.directory.dialer.up;
      const unserved = known && target.name === null;
      const state = !known ? "unknown" : unserved ? "offline" : "up";
      return { role, name: target?.name ?? role, unserved, state, place: "", fault: null };
    }
  }

  return { Directory, LASTING, LATER, LATER_MS, Peer, Presence, RETRY_MS };
})();
