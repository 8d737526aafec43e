"use strict";
/* The feed: the subscription to the monitor, and the state of the link to it in words.
 *
 * Global: Feed. Uses: Settings, Elements, Link.
 */

const Feed = (() => {
  const { $, setText, showTrust } = Elements;

  const ACK_AFTER_MS = 50;

  // Faults that another try does not mend: the page shows them at once, in one or two words.
  const REFUSALS = { "bad-proof": "Wrong key", "bad-version": "Wrong version", settings: "Wrong settings", origin: "Refused", refused: "Refused" };
  // For a link that is up: the page's state, by View.kind (monitor.js).
  const LOOKING = { empty: "Live", live: "Live", old: "No news", paused: "Paused", back: "Looking back" };

  /** Receives frames once `connect` was called. `on`: frame(body), acked(), kind(). */
  class Subscription {
    constructor(on) {
      this.on = on;
      this.dialer = null;
      this.epoch = null; // of the monitor that sent our frames, and our place there
      this.serial = 0;
      this.ackTimer = null;
      this.alone = ""; // why the monitor has no directory, if it has none
      this.downSince = performance.now(); // null while up
      this.readSettings = Settings.reader("monitor_host.js", Settings.current, () => {
        this.connect();
        this.show();
      });
    }

    connect() {
      this.dialer?.close();
      this.dialer = null;
      if (!Settings.current()?.key) return;
      const { host, port, key, tls } = Settings.current();
      const identity = { name: Link.PAGE_NAME, key, tls };
      this.dialer = new Link.Dialer({ host, port }, identity, null, {
        up: () => {
          const { epoch, serial } = this;
          this.dialer.send({ op: "subscribe", address: "monitor", epoch, after: serial, window: 1000 });
          this.show();
        },
        message: (message) => this.receive(message),
        down: () => this.show(),
      });
    }

    receive(message) {
      if (message.op === "subscribed") {
        this.epoch = message.epoch;
        this.serial = message.serial;
      } else if (message.op === "gap") { // which shows as one
        this.serial += message.missed;
      } else if (message.op === "message") {
        for (const frame of message.bodies) this.frame(frame);
      }
    }

    frame(frame) {
      this.serial += 1;
      this.on.frame(frame);
      if (this.alone !== (frame.alone ?? "")) {
        this.alone = frame.alone ?? "";
        this.show();
      }
      this.ackTimer ??= setTimeout(() => {
        this.ackTimer = null;
        this.dialer?.send({ op: "credit", address: "monitor", serial: this.serial });
        this.on.acked();
      }, ACK_AFTER_MS);
    }

    trouble() {
      if (!Settings.current()?.key) {
        return "The settings are missing: monitoring/monitor_host.js, which “python monitoring/launch.py” writes.";
      }
      const { code, message } = this.dialer.fault ?? {};
      const { host, port } = this.dialer.place;
      const monitor = `The monitor at ${host}:${port}`;
      if (code === "bad-proof") {
        return `${monitor} has another key than monitoring/monitor_host.js. “python monitoring/launch.py” writes the file anew, and this page then reads it.`;
      }
      if (code === "bad-version") return `${monitor} speaks another version of the protocol.`;
      if (code === "settings") return message;
      if (code === "origin") return `This page is refused: ${message}.`;
      if (code === "refused") return `${monitor} refuses this page: ${message}`;
      if (code === "silent" || code === "timeout") return `${monitor} is silent: it is frozen, or cut off.`;
      return `No monitor answers at ${host}:${port}. “python monitoring/launch.py” starts one; the graphs go on then.`;
    }

    /** Called whenever the link changes, and twice a second. */
    show() {
      const up = this.dialer?.up ?? false;
      const now = performance.now();
      this.downSince = up ? null : this.downSince ?? now;
      const refused = up ? undefined : REFUSALS[this.dialer?.fault?.code];
      const lasting = !up && (refused || !this.dialer || this.dialer.offline);
      document.documentElement.dataset.state = up ? "connected" : lasting ? "offline" : "reconnecting";
      const waiting = lasting ? "Offline" : this.epoch ? "Reconnecting" : "Connecting";
      setText($("state"), up ? LOOKING[this.on.kind()] : refused ?? waiting);
      const told = lasting || now - this.downSince > Link.WORDS_AFTER_MS;
      const alone = this.alone && `The monitor has no directory (${this.alone}): `
        + "it sees the services that it knew, and none that starts.";
      const words = up ? alone : told ? this.trouble() : "";
      setText($("words"), words);
      showTrust($("trust"), words && (this.dialer?.fault?.url ?? ""));
      $("trouble").hidden = words === "";
    }
  }

  return { Subscription };
})();
