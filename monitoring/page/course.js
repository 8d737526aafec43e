"use strict";
/* The course: experiments with the system. Predict, do it, and see each line tick itself off.
 *
 * The steps are those of the tour (barker/laboratory/steps.py); monitoring/launch.py writes them into the
 * settings. A line is ticked when a frame of the monitor shows it, and only by that. A step of which
 * frames show nothing is ticked by hand, and looks so.
 *
 * Global: Course. Uses: Settings, Elements, Model, Words.
 */

const Course = (() => {
  const { make, makeButton, setText } = Elements;
  const { clockText } = Words;
  const KEPT = "barker course";
  // Frames that come again after a reload are ten minutes old at most. Older ones are of another clock.
  const ANOTHER_TIME_MS = 900_000;

  const kindOf = (name) => name.replace(/-[^-]*$/, "");
  const membersOf = (frame, service) => frame.routes[service]?.targets.length ?? 0;
  const countsOf = (frame) => Object.fromEntries(Object.keys(frame.routes).map((service) => [service, membersOf(frame, service)]));

  /** Conditions on a frame; `base` has the number of instances of each service at the sight before. */
  const CONDITIONS = {
    above: (count, frame) => frame.depth !== null && frame.depth >= count,
    below: (count, frame) => frame.depth !== null && frame.depth <= count,
    instances: ([service, count], frame) => membersOf(frame, service) >= count,
    idle: (service, frame) => (frame.routes[service]?.first ?? null) === null,
    alone: (wanted, frame) => ("alone" in frame) === wanted,
    flow: ([kind, field], frame) => Model.sum(frame, kind, field) > 0,
    grows: (service, frame, base) => membersOf(frame, service) > (base[service] ?? 0),
    shrinks: (service, frame, base) => membersOf(frame, service) < (base[service] ?? 0),
  };

  /** Does the frame show that? Null if not; else the events behind those that it took. */
  function match(shown, frame, events, base) {
    const [[condition, value]] = Object.entries(shown);
    if (condition !== "event") return CONDITIONS[condition](value, frame, base) ? events : null;
    const place = events.findIndex((event) => Object.entries(value)
      .every(([field, wanted]) => (field === "kind" ? kindOf(event.name) : event[field]) === wanted));
    return place < 0 ? null : events.slice(place + 1);
  }

  function read() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEPT));
      return Number.isInteger(kept.step) && typeof kept.steps === "object" ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  class Guide {
    constructor(root, button, desk) {
      Object.assign(this, { root, button, desk, frame: null, drawn: "" });
      this.kept = read() ?? { open: false, step: 0, at: 0, steps: {} };
      this.said = make("p", "said");
      this.said.setAttribute("role", "status");
      button.addEventListener("click", () => this.change(() => { this.kept.open = !this.kept.open; }));
      this.show();
    }

    get steps() {
      return Settings.current()?.course ?? [];
    }

    get step() {
      return this.steps[this.kept.step] ?? this.steps[0];
    }

    /** What is kept of a step: the guess, whether it is begun, and the times of its sights. */
    of(step) {
      return this.kept.steps[step.title] ??= { guess: null, begun: false, seen: [], base: null };
    }

    isDone(step) {
      return this.of(step).seen.length >= Math.max(1, step.sights.length);
    }

    change(work) {
      work();
      try {
        sessionStorage.setItem(KEPT, JSON.stringify(this.kept));
      } catch { /* it is full, or switched off */ }
      this.show();
    }

    see(frame) {
      this.frame = frame;
      const { step, kept } = this;
      if (kept.at - frame.at > ANOTHER_TIME_MS) kept.at = 0;
      if (!step || frame.at <= kept.at) return; // after a reload, the past comes again
      kept.at = frame.at;
      const own = this.of(step);
      if (own.begun && !this.isDone(step)) this.change(() => this.tick(step, own, frame));
      else if (kept.open) this.showCommands();
    }

    tick({ sights }, own, frame) {
      let events = frame.events;
      own.base ??= countsOf(frame);
      while (events && own.seen.length < sights.length) {
        events = match(sights[own.seen.length].shown, frame, events, own.base);
        if (!events) return;
        own.seen.push(frame.at);
        own.base = countsOf(frame);
      }
    }

    // --- Doing ---

    /** The services that a deed is about, as rows of the frame. */
    rowsFor({ act, kind, newest }) {
      const rows = (this.frame?.services ?? []).filter((row) => row.kind === kind);
      const up = rows.filter((row) => row.up), frozen = rows.filter((row) => this.desk.stateOf(row.name) === "frozen" || row.how === "silent");
      const first = this.frame?.routes[kind]?.first;
      if (act === "thaw") return frozen;
      if (newest) return up.sort((a, b) => b.since - a.since).slice(0, 1);
      if (act === "stop") return up;
      return [...up.filter((row) => row.name === first), ...up, ...rows].slice(0, 1);
    }

    /** [[act, label]] for `controls`. "More" starts an ended one again, if there is one. */
    requestsFor(deed) {
      const ended = [...this.desk.processes.values()].find((process) => process.program === deed.kind && process.state === "ended");
      if (deed.act === "start" || (deed.act === "more" && ended)) return ended ? [["start", ended.process]] : [];
      const any = [...this.desk.processes.values()].find((process) => process.program === deed.kind);
      if (deed.act === "more") return any ? [["more", any.process]] : [];
      return this.rowsFor(deed).map((row) => [deed.act, row.name]).filter(([, name]) => this.desk.processes.has(name));
    }

    commandFor(deed) {
      if (deed.act && this.desk.on) {
        return this.requestsFor(deed).map(([act, name]) => this.desk.typed(act, this.desk.processes.get(name))).join("; ") || "–";
      }
      const rows = this.rowsFor(deed);
      const port = rows[0]?.port + (deed.act === "more" ? 1 : 0);
      return deed.typed.replace("PID", rows.map((row) => row.pid).join(" ") || "PID").replace("PORT", port || "PORT");
    }

    async do(deed) {
      const requests = this.requestsFor(deed), command = this.commandFor(deed);
      setText(this.said, requests.length ? `${command} …` : "There is no process for that now.");
      const whys = await Promise.all(requests.map(([act, name]) => this.desk.request(act, name)));
      if (whys.length) setText(this.said, whys.filter(Boolean).map(Elements.sentence).join(" ") || `Done: ${command}`);
    }

    // --- The page ---

    showCommands() {
      for (const { deed, command, button } of this.deeds ?? []) {
        setText(command, this.commandFor(deed));
        button.hidden = !deed.act || !this.desk.on;
      }
    }

    show() {
      const { button, root, kept, step, steps } = this;
      button.hidden = !steps.length;
      root.hidden = !kept.open || !step;
      button.setAttribute("aria-expanded", String(!root.hidden));
      if (root.hidden) return;
      const shown = JSON.stringify([kept.step, kept.steps]);
      if (shown !== this.drawn) { // else the focus in it would be lost
        setText(this.said, this.saidOf === step.title ? this.said.textContent : "");
        this.saidOf = step.title;
        const place = root.contains(document.activeElement) && document.activeElement.dataset.place;
        this.drawn = shown;
        this.deeds = [];
        const title = make("h2", "", "Course");
        title.id = "course-title";
        const tabs = steps.map((one, i) => this.press(`${this.isDone(one) ? "✓ " : ""}${i + 1}. ${one.title}`, () => { kept.step = i; }, `step ${i}`));
        tabs.forEach((tab, i) => { if (i === kept.step) tab.setAttribute("aria-current", "step"); });
        root.replaceChildren(make("div", "steps", title, ...tabs), ...this.parts(step, this.of(step)));
        if (place) root.querySelector(`[data-place="${place}"]`)?.focus();
      }
      this.showCommands();
    }

    press(text, work, place) {
      const button = makeButton("", text);
      button.dataset.place = place;
      button.addEventListener("click", () => this.change(work));
      return button;
    }

    parts(step, own) {
      const link = make("a", "", `docs/${step.chapter}`);
      link.href = `../docs/${step.chapter}`;
      const ask = make("div", "ask", make("h3", "", step.title), make("p", "", step.question), ...step.choices.map((choice, i) => {
        const button = this.press(choice, () => Object.assign(own, { guess: i, begun: true, base: this.frame && countsOf(this.frame) }), `choice ${i}`);
        button.setAttribute("aria-pressed", String(own.guess === i));
        button.disabled = own.begun;
        return button;
      }));
      if (!own.begun) return [ask, make("div", "note", "Predict, and the experiment begins.")];
      const done = this.isDone(step), next = this.steps[this.kept.step + 1];
      const deeds = make("ol", "deeds", ...step.deeds.map((deed, i) => {
        const command = make("code"), button = this.press(deed.words, () => { this.do(deed); }, `deed ${i}`);
        this.deeds.push({ deed, command, button });
        return make("li", "", button, make("b", "", deed.words), command);
      }));
      const sights = step.sights.map(({ words }, i) => make("li", own.seen[i] ? "seen" : "", own.seen[i] ? `✓ ${words}, at ${clockText(own.seen[i])}` : `○ ${words}`));
      const hand = done ? make("p", "", `✓ ticked by hand: ${step.look}`)
        : make("p", "", `The monitor does not show this. ${step.look} `, this.press("I see it", () => own.seen.push(this.kept.at || 1), "hand"));
      const found = own.guess === step.right ? "As you predicted" : `You predicted: ${step.choices[own.guess]}. In fact`;
      const end = done && make("div", "end", make("p", "", `${found}: ${step.choices[step.right]}.`),
        make("p", "", `The claim: ${step.claim} The tour checks all of it: python launch.py --tour.`));
      const anew = this.press("Begin this step anew", () => { delete this.kept.steps[step.title]; }, "anew");
      const on = done && next ? this.press("Next step", () => { this.kept.step += 1; }, "next") : "";
      return [ask, make("div", "do", make("p", "", step.text, " ", link), deeds, this.said),
        make("div", "sights", make("h3", "", sights.length ? "What the monitor shows" : "What to look at"), sights.length ? make("ul", "", ...sights) : hand, end || "", make("p", "", on, " ", anew))];
    }
  }

  return { Guide };
})();
