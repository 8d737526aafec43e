"use strict";
/* A link to one service: hello and proof, heartbeats, and a new link when it breaks.
 *
 *     connecting -> greeting -> up -> closed, and after a while again
 *
 * The page speaks the protocol of all of Barker (barker/wire/protocol.py is its table). A service's port takes
 * newline-JSON from programs and WebSocket from browsers, where each text message is one JSON message. So
 * this file does the work of barker/links/link.py and of the dialer in barker/process/dialing.py. It does
 * not know what a bark is. Both pages use it.
 *
 * Opened from disk (file://), the page needs no permission for this. Chromium asks before a page of
 * the *public* web may speak to this machine ("local network access", since Chrome 147 for
 * WebSockets too), but a page from disk counts as being on this machine; its Origin is "null".
 *
 * Global: Link. Uses: nothing.
 */

const Link = (() => {
  // The services' own times: silence after which we send a ping, and after which the peer is dead
  // (frozen, or the cable is cut: no socket would ever report it).
  const HEARTBEAT_MS = 1000;
  const SILENT_MS = 3000;
  // A frozen service still lets us connect (its kernel does that), so greeting needs a time-out of its own.
  // It is this long because Chromium holds a connect back for up to 5 s after many failures, and an attempt
  // that we end while it is held back is one failure more.
  const GREETING_MS = 8000;

  // Back-off of a dialer: short at first, since most services come back at once; then once a second; and
  // rarely after so long a silence that the page shows "offline". The last one and Chromium's 5 s together
  // are less than 10 s: so soon is a page back when its service is.
  const BACKOFF_FIRST_MS = 50;
  const BACKOFF_MAX_MS = 1000;
  const OFFLINE_AFTER_MS = 5000;
  // A shorter fault shows only as a coloured dot, without words.
  const WORDS_AFTER_MS = 1500;
  const BACKOFF_OFFLINE_MS = 4000;
  // A link that lived for less than this was no success: the back-off goes on where it was.
  const STABLE_MS = 2000;

  /** Why a link ended: `code` is one of the wire's, or one of ours (closed, silent, settings, refused,
   *  origin, and untrusted: then at `url` a person can make the browser trust a certificate). */
  class Fault extends Error {
    constructor(code, reason, url = "") {
      super(reason);
      this.code = code;
      this.url = url;
    }
  }

  const POLICY_VIOLATION = 1008; // RFC 6455, 7.4.1

  // Every attempt has a path of its own, and services do not look at it. Firefox delays a connect to a host,
  // port and path that has failed before, by half as much again each time, up to a minute; and while one
  // connect to a host is delayed, all others to that host wait behind it.
  let tries = 0;

  /** HOST:PORT, with an IPv6 address in brackets. */
  const written = ({ host, port }) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);

  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  const randomHex = (count) => hex(crypto.getRandomValues(new Uint8Array(count)));

  // Names this page in the services' logs.
  const PAGE_NAME = `page-${randomHex(4)}`;

  /** Shows that we know the role's key without sending it: see barker/links/greeting.py. */
  async function proof({ key, role = "client" }, end, openerNonce, acceptorNonce) {
    if (!crypto.subtle) {
      // Browsers have it only in a "secure context": file://, https:// and localhost are such.
      throw new Fault("settings", "this browser has no crypto.subtle for pages from here: "
        + "open the page from disk (file://), from localhost or over https");
    }
    if (!key) throw new Fault("settings", "there is no key in webui/barker_host.js");
    const utf8 = new TextEncoder();
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const imported = await crypto.subtle.importKey("raw", utf8.encode(key), hmac, false, ["sign"]);
    const text = `barker 1 ${end} ${role} ${openerNonce} ${acceptorNonce}`;
    return hex(new Uint8Array(await crypto.subtle.sign("HMAC", imported, utf8.encode(text))));
  }

  /** One connection. Calls `on.up()` once greeted, `on.message(m)` for each message, `on.down(fault)` once
   *  at the end, whichever side has closed it. */
  class Connection {
    constructor(place, identity, expect, on) {
      this.on = on;
      this.peer = null; // the other side's proof, once it holds
      this.closed = false;
      this.early = []; // messages that came before we were up
      this.wake = () => {};
      this.begun = this.heard = this.ticked = performance.now();
      this.ticker = setInterval(() => this.tick(), HEARTBEAT_MS / 2);
      const at = `//${written(place)}/`;
      try {
        this.socket = new WebSocket(`${identity.tls ? "wss" : "ws"}:${at}${tries += 1}`);
      } catch (fault) { // no address at all; reported after the constructor is done
        queueMicrotask(() => this.end(new Fault("settings", fault.message)));
        return;
      }
      let opened = false;
      this.socket.onopen = () => {
        opened = true;
        this.greet(identity, expect).catch((fault) => this.end(fault));
      };
      this.socket.onmessage = (event) => this.receive(event.data);
      this.socket.onclose = (event) => {
        // No page learns the reason: nothing there, an Origin that is refused, or a certificate that the
        // browser does not trust. Nor does a browser ask a person whether to, unless it opens the address
        // as a page.
        if (!opened && location.protocol !== "file:") {
          this.end(new Fault("origin", `services take pages from disk only, and this one is from ${location.origin}: open its index.html as a file`));
        } else if (event.code === POLICY_VIOLATION) { // it was opened to send us this
          this.end(new Fault("refused", event.reason));
        } else if (identity.tls && !opened) {
          const reason = "nothing answers, or this browser does not trust the certificate yet";
          this.end(new Fault("untrusted", reason, `https:${at}`));
        } else {
          this.end(new Fault("closed", "the connection was closed"));
        }
      };
    }

    /** Only hello and proof are sent before the other side has proved that it knows the key. */
    async greet(identity, expect) {
      const nonce = randomHex(16);
      const { name, role = "client" } = identity;
      this.send({ op: "hello", v: 1, role, nonce });
      const hello = await this.next("hello");
      this.send({ op: "proof", mac: await proof(identity, "opener", nonce, hello.nonce), name });
      const theirs = await this.next("proof");
      if (theirs.mac !== await proof(identity, "acceptor", nonce, hello.nonce)) {
        throw new Fault("bad-proof", "the service there does not know the key");
      }
      if (expect && theirs.name !== expect) { // after a restart, a port may belong to another service
        throw new Fault("moved", `${theirs.name} answers there, not ${expect}`);
      }
      if (!this.closed) {
        this.peer = theirs;
        this.on.up();
        for (const message of this.early.splice(0)) this.dispatch(message);
      }
    }

    async next(op) {
      while (!this.early.length) await new Promise((resolve) => { this.wake = resolve; });
      const message = this.early.shift();
      if (message.op !== op) throw new Fault("protocol", `it said ${message.op}, not ${op}`);
      return message;
    }

    receive(data) {
      this.heard = performance.now();
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return this.end(new Fault("protocol", "what it said is not JSON"));
      }
      if (message.op === "error") { // the last message before a close
        this.end(new Fault(message.code, message.reason));
      } else if (this.peer) {
        this.dispatch(message);
      } else {
        this.early.push(message);
        this.wake();
      }
    }

    dispatch(message) {
      if (message.op === "ping") this.send({ op: "pong" });
      else if (message.op !== "pong" && !this.closed) this.on.message(message);
    }

    /** `bodies`, where there are any, have to be the last key: a hop then cuts them out. */
    send(message) {
      if (!this.closed && this.socket.readyState === WebSocket.OPEN) {
        this.socket.send(JSON.stringify(message));
      }
    }

    /** Twice a heartbeat. Timers of a hidden tab run late, once a minute even, and those of a sleeping
     *  laptop not at all: a late tick shows that we were away, not that the peer is. */
    tick() {
      const now = performance.now();
      const late = now - this.ticked > 2 * HEARTBEAT_MS;
      this.ticked = now;
      if (late) {
        this.heard = now;
        this.send({ op: "ping" });
      } else if (!this.peer) {
        if (now - this.begun > GREETING_MS) this.end(new Fault("timeout", "it does not answer"));
      } else if (now - this.heard > SILENT_MS) {
        this.end(new Fault("silent", "it is silent"));
      } else if (now - this.heard > HEARTBEAT_MS) {
        this.send({ op: "ping" });
      }
    }

    /** For good, and at once: the closing handshake with a dead peer would take a minute. */
    end(fault) {
      if (this.closed) return;
      this.closed = true;
      clearInterval(this.ticker);
      if (this.socket) {
        this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
        this.socket.close();
      }
      this.on.down(fault instanceof Fault ? fault : new Fault("closed", String(fault)));
    }
  }

  /** Keeps one link up for as long as it is wanted. `on` is as for a link. */
  class Dialer {
    constructor(place, identity, expect, on) {
      Object.assign(this, { place, identity, expect, on });
      this.delay = BACKOFF_FIRST_MS;
      this.fault = null; // why the last try failed; null again once up
      this.downSince = performance.now(); // null while up
      this.timer = null;
      this.dial();
    }

    get up() {
      return this.downSince === null;
    }

    get offline() {
      return !this.up && performance.now() - this.downSince > OFFLINE_AFTER_MS;
    }

    dial() {
      this.timer = null;
      const link = new Connection(this.place, this.identity, this.expect, {
        up: () => {
          this.fault = this.downSince = null;
          this.upSince = performance.now();
          this.on.up();
        },
        message: (message) => this.on.message(message),
        down: (fault) => this.lost(fault),
      });
      this.link = link;
    }

    lost(fault) {
      const now = performance.now();
      if (this.up) {
        if (now - this.upSince > STABLE_MS) this.delay = BACKOFF_FIRST_MS;
        this.downSince = now;
      }
      this.fault = fault;
      // Jitter, so that pages which lost a service together do not all come back together.
      this.timer = setTimeout(() => this.dial(), this.delay * (0.5 + Math.random() / 2));
      this.delay = Math.min(2 * this.delay, this.offline ? BACKOFF_OFFLINE_MS : BACKOFF_MAX_MS);
      this.on.down(fault);
    }

    send(message) {
      if (this.up) this.link.send(message);
    }

    /** A person looks at the page, or something has changed: try now rather than later. */
    hurry() {
      if (this.timer === null) return;
      clearTimeout(this.timer);
      this.delay = BACKOFF_FIRST_MS;
      this.dial();
    }

    close() {
      this.on = { up() {}, message() {}, down() {} };
      this.link.end(new Fault("closed", "no longer wanted"));
      clearTimeout(this.timer); // which `lost` has just set
      this.timer = null;
    }
  }

  return { Dialer, Fault, OFFLINE_AFTER_MS, PAGE_NAME, WORDS_AFTER_MS, randomHex, written };
})();
