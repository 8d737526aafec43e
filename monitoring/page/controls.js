"use strict";
/* Controls: buttons that kill, freeze, stop and start the processes of a launcher, and the link for them.
 *
 * `python launch.py --controls` starts the service. Frames show its address, and the page opens a link
 * there with the operator's key, to this machine only. A request is a put; what runs is a stream. Each
 * button stands beside the command that does the same in a terminal.
 *
 * Global: Controls. Uses: Settings, Elements, Link, Cards.
 */

const Controls = (() => {
  const { arrange, make, makeButton, sentence, setData, setText } = Elements;

  const ADDRESS = "controls";
  const ACTS = { kill: "Kill", freeze: "Freeze", thaw: "Thaw", stop: "Stop", start: "Start again", more: "One more" };
  const POSSIBLE = { running: ["kill", "freeze", "stop", "more"], frozen: ["kill", "thaw", "more"], ended: ["start", "more"] };
  const SIGNALS = ["kill", "freeze", "thaw", "stop"];
  // A launcher that was stopped in its terminal (Ctrl-Z) answers later, or never.
  const PATIENCE_MS = 5000;
  const HOW_TO = "Start with “python launch.py --controls” to kill and start services from here.";

  /** The acts on one process, each with its command, and the outcome of the last one. */
  class Panel {
    constructor(name, desk) {
      Object.assign(this, { name, desk, busy: false });
      this.state = make("p", "note");
      this.said = make("p", "said");
      this.said.setAttribute("role", "status");
      this.rows = Object.entries(ACTS).map(([act, word]) => {
        const button = makeButton("act", word), command = make("code");
        button.setAttribute("aria-label", act === "more" ? `${word} like ${name}` : `${word} ${name}`);
        setData(button, "act", act);
        button.addEventListener("click", () => this.act(act));
        return { act, button, command, row: make("li", "", button, command) };
      });
      this.element = make("div", "acts", this.state, make("ul", "", ...this.rows.map(({ row }) => row)), this.said);
      this.element.tabIndex = -1;
    }

    show(process) {
      setText(this.state, `${this.name}: ${process.state}${process.ended && `, ${process.ended}`}`);
      for (const { act, command, row } of this.rows) {
        row.hidden = !this.desk.can(act, process);
        setText(command, this.desk.typed(act, process));
        if (row.hidden && row.contains(document.activeElement)) this.element.focus();
      }
    }

    async act(act) {
      if (this.busy) return;
      const command = this.desk.typed(act, this.desk.processes.get(this.name)) || ACTS[act];
      this.setBusy(true);
      setText(this.said, `${command} …`);
      const why = await this.desk.request(act, this.name);
      this.setBusy(false);
      setText(this.said, why ? sentence(why) : `Done: ${command}`);
      setData(this.said, "refused", String(why !== ""));
    }

    setBusy(busy) {
      this.busy = busy;
      for (const { button } of this.rows) button.setAttribute("aria-disabled", String(busy));
    }
  }

  /** A button that opens `panel` above the page, near itself. */
  function opener(text, label, panel) {
    const button = makeButton("open", text);
    if (label) button.setAttribute("aria-label", label);
    panel.popover = "auto";
    button.popoverTargetElement = panel;
    panel.addEventListener("beforetoggle", ({ newState }) => {
      if (newState !== "open") return;
      const { right, top, bottom } = button.getBoundingClientRect();
      const below = bottom < innerHeight / 2;
      panel.style.right = `${Math.max(10, Math.min(innerWidth - right, innerWidth - 380))}px`;
      panel.style.top = below ? `${bottom + 4}px` : "auto";
      panel.style.bottom = below ? "auto" : `${innerHeight - top + 4}px`;
    });
    return button;
  }

  /** The link to `controls`, and all buttons. `changed` is called when the state of a process changes. */
  class Desk {
    constructor(note, changed) {
      Object.assign(this, { changed, dialer: null, key: "", why: HOW_TO, serial: 0, seq: 0, signals: {} });
      this.processes = new Map(); // label -> its state
      this.requests = new Map(); // seq -> a function that takes the outcome
      this.cards = new Map(); // label -> {element, panel}
      this.note = make("span");
      this.others = make("ul", "acts others");
      this.more = opener("", "", this.others);
      note.append(this.note, this.more, this.others);
      this.show();
    }

    get on() {
      return this.dialer?.up === true && this.processes.size > 0;
    }

    stateOf(name) {
      return this.processes.get(name)?.state;
    }

    can(act, process) {
      const able = act !== "freeze" && act !== "thaw" || act in this.signals;
      return able && POSSIBLE[process.state].includes(act) && process.program !== ADDRESS && (act !== "more" || process.more !== null);
    }

    /** The command that does this in a terminal; "" if there is none. */
    typed(act, process) {
      if (!SIGNALS.includes(act)) return process?.[act] ?? "";
      return act in this.signals && process?.pid ? `${this.signals[act]} ${process.pid}` : "";
    }

    /** The element at the end of a service's new card: from now on its acts are there. */
    extras(row) {
      const { element, panel } = this.cardOf(row.name);
      element.querySelector(".box").append(panel.element);
      return element;
    }

    cardOf(name) {
      let card = this.cards.get(name);
      if (!card) {
        const panel = new Panel(name, this), box = make("div", "box", panel.element);
        const element = make("div", "extras", opener("⋯", `Controls of ${name}`, box), box);
        this.cards.set(name, card = { element, panel });
        this.showCard(name, card);
      }
      return card;
    }

    // --- The link ---

    /** Find `controls` in a new frame, and open the link or give it up. */
    see(frame) {
      const name = frame.routes[ADDRESS]?.targets[0];
      const row = frame.services.find((service) => service.name === name && service.up);
      const { operator, tls } = Settings.current() ?? {};
      if (!row) this.why = HOW_TO;
      else if (!Cards.isLoopback(row.host)) this.why = `${name} is on ${row.host}, and takes requests from there alone.`;
      else this.why = operator ? "" : "The settings have no operator's key: start monitoring/launch.py anew.";
      const key = this.why ? "" : JSON.stringify([row.host, row.port, name, operator]);
      if (this.key !== key) this.connect(key, row, { name: Link.PAGE_NAME, key: operator, role: "operator", tls });
      this.show();
    }

    connect(key, row, identity) {
      this.key = key;
      this.dialer?.close();
      this.down();
      this.dialer = key && new Link.Dialer({ host: row.host, port: row.port }, identity, row.name, {
        up: () => {
          this.seq = 0;
          this.dialer.send({ op: "subscribe", address: ADDRESS });
        },
        message: (message) => this.receive(message),
        down: () => this.down(),
      });
    }

    down() {
      for (const settle of this.requests.values()) settle("The link to controls broke: look whether it was done");
      this.processes.clear();
      this.show();
    }

    receive(message) {
      if (message.op === "subscribed") this.serial = message.serial;
      else if (message.op === "gap") this.serial += message.missed;
      else if (message.op === "refuse") this.requests.get(message.seq)?.(message.reason);
      else if (message.op === "ack") for (const [seq, settle] of this.requests) if (seq <= message.seq) settle("");
      if (message.op !== "message") return;
      this.serial += message.bodies.length;
      this.dialer.send({ op: "credit", address: ADDRESS, serial: this.serial });
      const { typed, processes } = message.bodies.at(-1);
      this.signals = typed;
      this.processes = new Map(processes.map((process) => [process.process, process]));
      this.show();
      this.changed();
    }

    /** Resolves to "" once it is done, or to the reason why not. */
    request(act, process) {
      if (!this.on) return Promise.resolve("There is no link to controls");
      const seq = this.seq += 1;
      this.dialer.send({ op: "put", seq, to: [ADDRESS], bodies: [{ id: Link.randomHex(8), act, process }] });
      return new Promise((resolve) => {
        const settle = (why) => { clearTimeout(timer); this.requests.delete(seq); resolve(why); };
        const timer = setTimeout(settle, PATIENCE_MS, "The launcher does not answer, and may still do it");
        this.requests.set(seq, settle);
      });
    }

    // --- The page ---

    show() {
      for (const [name, card] of this.cards) {
        if (card.element.isConnected || this.processes.has(name)) this.showCard(name, card);
        else this.cards.delete(name);
      }
      const rest = [...this.processes.keys()].filter((name) => name.split("-")[0] !== ADDRESS && !this.cards.get(name)?.element.closest(".service")?.isConnected);
      setText(this.note, this.why || (this.on ? "⋯ kills, freezes and starts a process." : "No link to controls."));
      this.more.hidden = !this.on || !rest.length;
      setText(this.more, `${rest.length} more processes`);
      if (this.more.hidden && this.others.matches(":popover-open")) this.others.hidePopover();
      arrange(this.others, rest.map((name) => {
        const { panel } = this.cardOf(name);
        panel.item ??= make("li");
        if (panel.element.parentElement !== panel.item) panel.item.append(panel.element);
        return panel.item;
      }));
    }

    showCard(name, { element, panel }) {
      const process = this.processes.get(name);
      element.hidden = !this.on || !process || process.program === ADDRESS;
      if (process) panel.show(process);
      const box = element.querySelector(".box");
      if (element.hidden && box.matches(":popover-open")) box.hidePopover();
    }
  }

  return { Desk };
})();
