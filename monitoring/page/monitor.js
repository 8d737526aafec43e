"use strict";
/* The page: the second that is looked at, the movement, and the keys and buttons.
 *
 * Once a second a frame of the monitor changes words (map, table, numbers), and at the screen's rate the
 * graphs move. Nothing is drawn for a hidden tab: the browser asks for no frames then.
 *
 * Global: Monitor. Uses: Elements, Model, Words, Looks, Chart, Labels, Controls, Course, System, Traces, Figures, Feed.
 */

const Monitor = (() => {
  const { $, setText } = Elements;
  const { CAPACITY, GAP_MS } = Model;
  const { agoText, clockText } = Words;

  const SETTINGS_EVERY_MS = 3000;
  const INKS = ["ink", "quiet", "axis", "grid", "faint", "card", ...Object.keys(Words.EVENTS)];

  // --- The second that all parts of the page show ---

  // Frames come once a second. When none has come for this long, the newest is not "now" any more.
  const OLD_MS = 3500;

  /** The second that is pointed at, else the one at the right edge of a paused graph, else the newest. */
  class View {
    constructor(model, clock) {
      Object.assign(this, { model, clock });
      this.span = 120_000;
      this.pausedAt = null; // the time at the right edge while paused
      this.cursor = -1; // the frame that is pointed at with keys
      this.pointer = null; // {chart, x} while a mouse or finger points
      this.only = null; // the service whose lines stand out
      this.news = false; // have frames come since the last drawing?
      this.wordsShown = ""; // the frame that map, table and numbers show
      this.ink = {}; // the colours of the scheme
    }

    /** Serial of the frame that is pointed at; -1 for none. */
    get pointed() {
      const { model } = this;
      if (!this.pointer) return model.frame(this.cursor) ? this.cursor : -1;
      const at = this.pointer.chart.timeAt(this.pointer.x);
      const nearest = model.nearest(at);
      return nearest >= 0 && Math.abs(model.times[nearest % CAPACITY] - at) < GAP_MS ? nearest : -1;
    }

    /** Serial of the frame for all words; -1 before the first. */
    get shown() {
      const { pointed } = this;
      if (pointed >= 0) return pointed;
      return this.pausedAt === null ? this.model.next - 1 : this.model.nearest(this.pausedAt);
    }

    /** "live", or why the shown second is not now: "empty" (before the first frame), "back" (pointed at),
     *  "paused", or "old" (no news). */
    kind(now) {
      if (this.model.next === 0) return "empty";
      if (this.pointed >= 0) return "back";
      if (this.pausedAt !== null) return "paused";
      const { latest } = this.model;
      return this.clock.age(latest.at, now) > OLD_MS ? "old" : "live";
    }

    time() {
      const frame = this.model.frame(this.shown);
      return frame ? clockText(frame.at) : "";
    }

    /** The same for the bar on top, with how long ago that was. */
    sentence(now) {
      const frame = this.model.frame(this.shown);
      if (!frame) return "no figures yet";
      if (this.kind(now) === "live") return clockText(frame.at);
      return `at ${clockText(frame.at)}, ${agoText(this.clock.age(frame.at, now))}`;
    }
  }

  // --- The parts of the page ---

  const model = new Model.Frames();
  const clock = new Model.Clock();
  const depthChart = new Chart.Plot($("depth-plot"), new Chart.LinearScale(), { showsEvents: true });
  const rateChart = new Chart.Plot($("rate-plot"), new Chart.LogScale(), { showsEvents: false });
  const delayChart = new Chart.Plot($("delay-plot"), new Chart.DelayScale(), { showsEvents: false });
  const charts = [depthChart, rateChart, delayChart];
  const desk = new Controls.Desk($("controls-note"), () => course.show());
  const course = new Course.Guide($("course"), $("course-open"), desk);
  const map = new System.SystemMap($("map"), { extras: (row) => desk.extras(row) });
  const barks = new Traces.Followed(map, $("barks"), $("bark-list"));
  const table = new Figures.Table($("table"));
  const glance = new Figures.Glance($);
  const eventList = new Figures.EventList($("events"), $("no-events"));
  const feed = new Feed.Subscription({
    frame: (body) => {
      if (!model.add(body)) return;
      view.news = true;
      barks.add(body, model.next - 1);
      course.see(body);
    },
    acked: () => {
      desk.see(model.latest);
      if (document.hidden) showFrame(performance.now()); // no drawing does it
    },
    kind: () => view.kind(performance.now()),
  });

  const view = new View(model, clock);

  // --- Lines and their legends ---

  const hidden = new Set(); // keys of lines
  let version = -1;

  function makeLines() {
    version = model.version;
    Looks.keepOnly(new Set(model.columns.keys()));
    const columns = [...model.columns.values()].sort(Figures.byKind);
    const line = (column, field, dashed) => ({
      key: `${column.name} ${field}`,
      column,
      field,
      dashed,
      hidden: hidden.has(`${column.name} ${field}`),
      slot: Looks.slotOf(column.name),
      colour: Looks.colourOf(column.name),
      marker: new Path2D(Looks.markerOf(column.name).path),
      hollow: Looks.markerOf(column.name).hollow,
    });
    depthChart.lines = columns.filter((c) => c.kind === "outbox").map((c) => line(c, "depth"));
    rateChart.lines = columns.filter((c) => c.kind !== "inbox").flatMap((c) => [line(c, "in", false), line(c, "out", true)]);
    delayChart.lines = columns.filter((c) => c.kind === "inbox").map((c) => line(c, "delay"));
    for (const chart of charts) {
      Labels.showLegend(legendOf(chart), chart);
      Labels.makeTip(chart);
    }
  }

  const legendOf = (chart) => chart.root.parentNode.querySelector(".legend");

  function toggle(button) {
    const { key } = button.dataset;
    if (!hidden.delete(key)) hidden.add(key);
    button.setAttribute("aria-pressed", String(!hidden.has(key)));
    for (const line of charts.flatMap((chart) => chart.lines)) line.hidden = hidden.has(line.key);
    for (const chart of charts) {
      chart.stale = true;
      chart.tip.shown = null;
    }
  }

  // --- Once a second, and at the screen's rate ---

  /** Map, tiles, events and table for the second that is looked at, and its time. */
  function showFrame(now) {
    const { shown } = view;
    const frame = model.frame(shown);
    const kind = view.kind(now);
    if (document.documentElement.dataset.view !== kind) {
      document.documentElement.dataset.view = kind;
      feed.show();
    }
    setText($("second"), view.sentence(now));
    if (!frame || view.wordsShown === `${shown} ${model.next} ${kind}`) return;
    view.wordsShown = `${shown} ${model.next} ${kind}`;
    map.show(frame);
    barks.show(frame, shown, kind === "live" && !calm.matches);
    table.show(frame);
    glance.show(frame, model, shown);
    eventList.show(model.events, shown, kind === "live");
    const time = kind === "live" ? "" : view.time();
    for (const place of whens) setText(place, time && `at ${time}`);
    setText($("map-title"), `The system ${time ? `at ${time}` : "now"}`);
    setText($("events-when"), time && `until ${time}`);
    setText($("left-out"), frame.left_out ? `and ${frame.left_out} more services` : "");
  }

  const whens = document.querySelectorAll(".when.at");
  const schemes = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function readInks() {
    const style = getComputedStyle(document.documentElement);
    view.ink = Object.fromEntries(INKS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    for (let i = 0; i < Looks.SLOTS; i += 1) view.ink[`--s${i}`] = style.getPropertyValue(`--s${i}`).trim();
    for (const chart of charts) chart.stale = true;
  }

  /** One picture, as of `now` (performance.now(), or any other time that a test likes). */
  function draw(now) {
    if (view.news) {
      view.news = false;
      clock.heard(model.latest.at, now);
      for (const chart of charts) chart.stale = true;
    }
    if (version !== model.version) makeLines();
    let edge = view.pausedAt ?? clock.edge(now);
    if (edge === null) return showFrame(now);
    if (calm.matches) edge = Math.floor(edge / 1000) * 1000; // one step a second is no movement
    const { pointed } = view;
    for (const chart of charts) {
      if (chart.isCurrent(edge, view.span, pointed)) continue;
      chart.draw({ model, edge, span: view.span, cursor: pointed, ink: view.ink, only: view.only, now, still: calm.matches });
      Labels.showTip(chart, model, pointed);
    }
    showFrame(now);
  }

  function drawForEver(now) {
    requestAnimationFrame(drawForEver);
    draw(now);
  }

  // --- Keys and buttons ---

  function setPaused(paused) {
    view.pausedAt = paused ? clock.edge(performance.now()) : null;
    if (!paused) view.cursor = -1;
    const button = $("pause");
    button.setAttribute("aria-pressed", String(view.pausedAt !== null));
    setText(button, view.pausedAt === null ? "Pause" : "Resume");
    document.documentElement.dataset.paused = String(view.pausedAt !== null);
  }

  /** A chart is a slider over time: its value is a second, in words. */
  function tellValue(chart) {
    const edge = view.pausedAt ?? clock.edge(performance.now()) ?? 0;
    const at = model.frame(view.shown)?.at ?? edge;
    chart.root.setAttribute("aria-valuemin", String(-view.span / 1000));
    chart.root.setAttribute("aria-valuenow", String(Math.round(Math.max(-view.span, Math.min(0, at - edge)) / 1000)));
    chart.root.setAttribute("aria-valuetext", model.next ? Labels.inWords(chart, model, view.shown) : "nothing known yet");
  }

  function pressed(event, chart) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const time = view.pausedAt ?? clock.edge(performance.now()) ?? 0;
    const edge = model.nearest(time), begin = model.nearest(time - view.span);
    const step = { PageUp: 10, PageDown: -10 }[event.key] ?? (event.shiftKey ? 10 : 1);
    const at = view.pointed < 0 ? edge + 1 : view.pointed;
    const goal = {
      ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step,
      PageUp: at + step, PageDown: at + step, Home: begin, End: edge,
    }[event.key];
    if (goal !== undefined && model.next) {
      view.pointer = null;
      view.cursor = Math.max(begin, Math.min(edge, goal));
      if (version !== model.version) makeLines(); // a key can be faster than the first drawing
    } else if (event.key === "Escape") {
      view.pointer = null;
      view.cursor = -1;
    } else if (event.key === " ") {
      setPaused(view.pausedAt === null);
    } else {
      return;
    }
    tellValue(chart);
    event.preventDefault();
  }

  for (const chart of charts) {
    const point = (event) => { view.pointer = { chart, x: event.offsetX / chart.zoom }; };
    chart.canvas.addEventListener("pointermove", point);
    chart.canvas.addEventListener("pointerdown", point);
    chart.canvas.addEventListener("pointerleave", () => { view.pointer = null; });
    chart.root.addEventListener("keydown", (event) => pressed(event, chart));
    chart.root.addEventListener("focus", () => tellValue(chart));
    // While paused, the second stays: its figures are in the table, a few tabs away.
    chart.root.addEventListener("blur", () => { if (view.pausedAt === null) view.cursor = -1; });
  }

  /** The browser may keep the choice through a reload: so it is read, and not taken for granted. */
  function readSpan() {
    view.span = 1000 * Number($("window").querySelector(":checked").value);
    for (const chart of charts) tellValue(chart);
  }

  /** The lines of the service whose legend is pointed at or focused stand out. */
  function pointAtLegend(event) {
    const leaves = event.type === "pointerleave" || event.type === "focusout";
    view.only = leaves ? null : event.target.closest("[data-service]")?.dataset.service ?? null;
    for (const chart of charts) chart.stale = true;
  }

  $("window").addEventListener("change", readSpan);
  addEventListener("pageshow", readSpan);
  $("pause").addEventListener("click", () => setPaused(view.pausedAt === null));
  for (const legend of charts.map(legendOf)) {
    legend.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) toggle(button);
    });
    for (const type of ["pointerover", "pointerleave", "focusin", "focusout"]) legend.addEventListener(type, pointAtLegend);
  }
  for (const scheme of schemes) scheme.addEventListener("change", readInks);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) feed.dialer?.hurry(); });

  // --- Begin ---

  readInks();
  readSpan();
  feed.connect();
  feed.show();
  setInterval(() => feed.show(), 500);
  setInterval(() => { if (!feed.dialer?.up) feed.readSettings(); }, SETTINGS_EVERY_MS);
  requestAnimationFrame(drawForEver);

  // For a developer's console, and for tests.
  return { charts, clock, course, depthChart, desk, draw, feed, model, setPaused, view };
})();
