"use strict";
/* The way of each bark that is typed here: this page, outbox, bizlogic, inbox, and back to this page.
 *
 *     Notes    the monitor's frames, if one runs: when each service noted our barks
 *     Trail    one bark's way, as an element that folds away
 *     Ways     the barks that are followed
 *
 * Only measured times are shown: of the ack and the bark's return by this page's clock, between services by
 * theirs. No number compares the page's clock with another.
 *
 * Global: Way. Uses: Elements, Peers, Times.
 */

const Way = (() => {
  const { make, setData, setText } = Elements;

  // Barks that are followed at a time; of older ones the page shows the fate alone.
  const MAX_FOLLOWED = 20;
  // Instances of one kind that may have noted a bark; further ones are left out.
  const MAX_NOTED = 20;
  // An open way folds this long after its bark was shown. By then the monitor's last frame about it has come.
  const FOLD_AFTER_MS = 10_000;

  /** Reads the monitor's frames from now on. `on`: changed(), frame(frame). */
  class Notes extends Peers.Peer {
    up() {
      this.dialer.send({ op: "subscribe", address: this.address, history: 1 });
    }

    message(message) {
      if (message.op === "subscribed") this.serial = message.serial;
      else if (message.op === "message") for (const frame of message.bodies) this.read(frame);
    }

    read(frame) {
      this.serial += 1;
      this.dialer.send({ op: "credit", address: this.address, serial: this.serial });
      this.on.frame(frame);
    }
  }

  const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

  class Trail {
    constructor(bark) {
      this.id = bark.id;
      this.begun = performance.now() - Math.max(0, Times.now() - bark.at); // before a reload, perhaps
      this.outbox = this.inbox = ""; // it has acked; it came back from there
      this.ackedMs = this.backMs = this.backAt = null;
      this.noted = { outbox: [], bizlogic: [], inbox: [] }; // [service, ms], the first one first
      this.words = make("summary", "");
      this.steps = Array.from({ length: 5 }, () => make("li", "", make("b", ""), make("span", "")));
      const list = make("ol", "", ...this.steps);
      list.role = "list"; // without bullets, Safari takes it for none
      this.element = make("details", "way", this.words, list);
      this.element.open = true;
      this.words.addEventListener("click", () => { this.touched = true; });
    }

    get since() {
      return performance.now() - this.begun;
    }

    note(kind, service, at) {
      const noted = this.noted[kind] ?? [];
      if (noted.length < MAX_NOTED && !noted.some(([name]) => name === service)) noted.push([service, at]);
    }

    /** How long after the hop before it; "" if no monitor has timed both. */
    later(kind, before) {
      const [first] = this.noted[before];
      const times = first ? this.noted[kind].map(([, at]) => (at - first[1]).toFixed(2)).sort((a, b) => a - b) : [];
      return times.length > 1 ? `${times[0]} to ${times.at(-1)} ms later` : times.length ? `${times[0]} ms later` : "";
    }

    fold() {
      if (!this.touched) this.element.open = false;
    }

    /** Show the present state; `services` are the page's links, by role. */
    draw({ outbox, bizlogic, inbox }) {
      const acked = this.ackedMs !== null, back = this.backAt !== null, { noted } = this;
      const waits = acked && !back && bizlogic.unserved, sends = outbox?.state === "up";
      const keeper = this.outbox || (outbox?.name ?? "outbox");
      const ahead = acked ? "not yet" : "";
      const inboxes = noted.inbox.map(([name]) => name);
      const last = inboxes.length > 1 ? `${inboxes.length} inboxes` : inboxes[0] ?? (this.inbox || (inbox?.name ?? "inbox"));
      const shown = this.backMs !== null ? `after ${duration(this.backMs)}` : back ? "later" : ahead;
      const steps = [
        ["this page", acked ? "kept it until the ack" : "keeps it", true],
        [keeper, acked ? `in its journal after ${duration(this.ackedMs)}` : this.refused ? "refused it" : sends ? "not yet" : "no answer", acked],
        [noted.bizlogic[0]?.[0] ?? bizlogic.name, this.later("bizlogic", "outbox") || (waits ? "none runs" : back ? "sent it to inboxes" : ahead), back || noted.bizlogic.length],
        [last, this.later("inbox", "bizlogic") || (back ? "keeps it, and sent it here" : ahead), back || inboxes.length],
        ["shown", shown, back],
      ];
      for (const [i, [name, words, done]] of steps.entries()) {
        const [title, text] = this.steps[i].children;
        setText(title, name);
        title.title = i === 3 && inboxes.length ? inboxes.join(", ") : name;
        setText(text, words);
        setData(this.steps[i], "done", String(Boolean(done)));
      }
      setText(this.words, back ? `Its way: ${keeper}, ${last}, shown ${shown}`
        : waits ? `No bizlogic runs, so it waits in ${keeper}`
          : acked ? `In ${keeper}’s journal${inbox?.state === "up" ? ", on its way" : "; the inbox does not answer"}`
            : this.refused ? `${keeper} refused it` : sends ? `On its way to ${keeper}` : "No outbox answers, so it waits in this page");
    }
  }

  class Ways {
    /** `held()`: may nothing in the list move now? */
    constructor(client, held) {
      Object.assign(this, { client, held, trails: [], notes: null });
    }

    follow(entry) {
      for (const trail of this.trails) trail.fold();
      entry.way = new Trail(entry.bark);
      this.trails.push(entry.way);
      if (this.trails.length > MAX_FOLLOWED) this.end(this.trails[0]);
      this.notes ??= new Notes("monitor", "", this.client.directory, { changed() {}, frame: (frame) => this.frame(frame) });
      this.draw();
    }

    acked({ way, bark }) {
      if (way?.ackedMs !== null) return;
      way.ackedMs = way.since;
      way.outbox = this.client.writers.get(bark.user)?.target?.name ?? "";
      this.draw();
    }

    refused({ way }) {
      if (!way) return;
      way.refused = true;
      this.draw();
      this.end(way);
    }

    /** It came back from our inbox; as a part of the past, then nothing tells when. */
    back({ way }, isPast) {
      if (way?.backAt !== null) return;
      way.backAt = performance.now();
      way.backMs = isPast ? null : way.since;
      way.inbox = this.client.reader?.target?.name ?? "";
      this.draw();
    }

    /** Follow it no longer. A way without an end would show an old state for ever. */
    end(trail) {
      this.trails = this.trails.filter((other) => other !== trail);
      if (trail.backAt !== null || trail.refused) return;
      trail.element.remove();
      trail.element = undefined;
    }

    frame({ services, traces = [] }) {
      const kinds = new Map(services.map(({ name, kind }) => [name, kind]));
      for (const [id, service, at] of traces) {
        this.trails.find((trail) => trail.id === id)?.note(kinds.get(service), service, at);
      }
      this.draw();
    }

    draw() {
      const services = Object.fromEntries(this.client.services.map((service) => [service.role, service]));
      for (const trail of this.trails) trail.draw(services);
    }

    /** Once a second: fold what was shown for a while. The link to the monitor ends with the last of them. */
    tick() {
      for (const trail of this.trails) {
        if (trail.backAt === null || performance.now() - trail.backAt < FOLD_AFTER_MS || this.held()) continue;
        trail.fold();
        this.end(trail);
      }
      if (this.trails.length) return;
      this.notes?.close();
      this.notes = null;
    }
  }

  return { MAX_FOLLOWED, Ways };
})();
