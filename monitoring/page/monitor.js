"use strict";

/* The page: what is looked at, the movement, and what keys and buttons do.
 *
 * Read the files that index.html loads first, in its order. Two rhythms meet here: once a second a
 * frame of the monitor changes words (map, table, numbers), and at the screen's rate the graphs move.
 * Nothing is drawn for a tab that nobody sees: the browser asks for no frames then.
 *
 * Global: Monitor. Uses: Elements, Model, Words, Looks, Scales, Chart, Labels, System, Figures, Feed.
 */

const Monitor = (() => {
  const { $, setText } = Elements;
  const { CAPACITY, GAP_MS } = Model;
  const { clockText } = Words;

  const SETTINGS_EVERY_MS = 3000;
  const INKS = ["ink", "quiet", "axis", "grid", "faint", "card", "appeared", "back", "restarted", "gone", "failover", "dead-letter"];

  const model = new Model.Frames();
  const clock = new Model.Clock();
  const depthChart = new Chart.Plot($("depth-plot"), new Scales.LinearScale(), { showsEvents: true });
  const rateChart = new Chart.Plot($("rate-plot"), new Scales.LogScale(), { showsEvents: false });
  const charts = [depthChart, rateChart];
  const map = new System.SystemMap($("map"));
  const table = new Figures.Table($("table"));
  const glance = new Figures.Glance($);
  const eventList = new Figures.EventList($("events"), $("no-events"));
  const feed = new Feed.Subscription({
    frame: (body) => { if (model.add(body)) view.news = true; },
    acked: () => { if (document.hidden) showFrame(); }, // no drawing will do it
  });

  // --- What is looked at ---

  const view = {
    span: 120_000,
    pausedAt: null, // the time at the right edge while paused
    cursor: -1, // the frame that is pointed at with keys
    pointer: null, // {chart, x} while a mouse or finger points
    news: false, // have frames come since the last drawing?
    wordsShown: "", // of which frame map, table and numbers tell
    ink: {}, // the colours of the scheme
  };

  function cursorNow() {
    if (!view.pointer) return model.frame(view.cursor) ? view.cursor : -1;
    const at = view.pointer.chart.timeAt(view.pointer.x);
    const nearest = model.nearest(at);
    return nearest >= 0 && Math.abs(model.times[nearest % CAPACITY] - at) < GAP_MS ? nearest : -1;
  }

  /** The frame that words are about: the one pointed at, else the one at the edge of a paused graph,
   *  else the newest. */
  function serialShown(pointed) {
    if (pointed >= 0) return pointed;
    return view.pausedAt === null ? model.next - 1 : model.nearest(view.pausedAt);
  }

  // --- Lines and their legends ---

  const hidden = new Set(); // keys of lines
  let version = -1;

  function makeLines() {
    version = model.version;
    const columns = [...model.columns.values()].sort((a, b) => Figures.roleRank(a) - Figures.roleRank(b) || (a.name < b.name ? -1 : 1));
    const line = (column, field, dashed) => ({
      key: `${column.name} ${field}`,
      column,
      field,
      dashed,
      hidden: hidden.has(`${column.name} ${field}`),
      slot: Looks.slotOf(column.name),
      colour: Looks.colourOf(column.name),
      marker: new Path2D(Looks.markerOf(column.name)),
    });
    depthChart.lines = columns.filter((c) => c.role === "outbox").map((c) => line(c, "depth", false));
    rateChart.lines = columns.flatMap((c) => [line(c, "in", false), line(c, "out", true)]);
    Labels.showLegend($("depth-legend"), depthChart);
    Labels.showLegend($("rate-legend"), rateChart);
    for (const chart of charts) Labels.makeTip(chart);
  }

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

  /** Map, table and numbers for the frame that is looked at. */
  function showFrame() {
    const shown = serialShown(cursorNow());
    const frame = model.frame(shown);
    if (!frame || view.wordsShown === `${shown} ${model.next} ${view.pausedAt}`) return;
    view.wordsShown = `${shown} ${model.next} ${view.pausedAt}`;
    map.show(model.latest); // "the system now" stays now, whatever the graphs are looking back at
    table.show(frame);
    glance.show(frame, model, shown);
    eventList.show(model.events);
    const past = shown !== model.next - 1;
    setText($("table-when"), past ? `at ${clockText(frame.at)}` : frame.left_out ? `and ${frame.left_out} more services` : "");
  }

  const scheme = matchMedia("(prefers-color-scheme: dark)");
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
    if (edge === null) return;
    if (calm.matches) edge = Math.floor(edge / 1000) * 1000; // one step a second is no movement
    const pointed = cursorNow();
    for (const chart of charts) {
      if (chart.isCurrent(edge, view.span, pointed)) continue;
      chart.draw({ model, edge, span: view.span, cursor: pointed, ink: view.ink, now, still: calm.matches });
      Labels.showTip(chart, model, pointed);
    }
    showFrame();
  }

  function frame(now) {
    requestAnimationFrame(frame);
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

  function pressed(event, chart) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const edge = model.nearest(view.pausedAt ?? clock.edge(performance.now()) ?? 0);
    const begin = model.nearest((view.pausedAt ?? clock.edge(performance.now()) ?? 0) - view.span);
    const step = event.shiftKey ? 10 : 1;
    const at = cursorNow() < 0 ? edge + 1 : cursorNow();
    const goal = { ArrowLeft: at - step, ArrowRight: at + step, Home: begin, End: edge }[event.key];
    if (goal !== undefined && model.next) {
      view.pointer = null;
      view.cursor = Math.max(begin, Math.min(edge, goal));
      if (version !== model.version) makeLines(); // a key can be faster than the first drawing
      $("aloud").textContent = Labels.inWords(chart, model, view.cursor);
    } else if (event.key === "Escape") {
      view.pointer = null;
      view.cursor = -1;
    } else if (event.key === " ") {
      setPaused(view.pausedAt === null);
    } else {
      return;
    }
    event.preventDefault();
  }

  for (const chart of charts) {
    const point = (event) => { view.pointer = { chart, x: event.offsetX }; };
    chart.canvas.addEventListener("pointermove", point);
    chart.canvas.addEventListener("pointerdown", point);
    chart.canvas.addEventListener("pointerleave", () => { view.pointer = null; });
    chart.root.addEventListener("keydown", (event) => pressed(event, chart));
    chart.root.addEventListener("blur", () => { view.cursor = -1; });
  }
  $("window").addEventListener("change", (event) => { view.span = 1000 * Number(event.target.value); });
  $("pause").addEventListener("click", () => setPaused(view.pausedAt === null));
  for (const id of ["depth-legend", "rate-legend"]) {
    $(id).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) toggle(button);
    });
  }
  scheme.addEventListener("change", readInks);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) feed.hurry(); });

  // --- Begin ---

  readInks();
  feed.connect();
  feed.show();
  setInterval(() => feed.show(), 500);
  setInterval(() => feed.readSettingsAgain(), SETTINGS_EVERY_MS);
  requestAnimationFrame(frame);

  // For a developer's console, and for tests.
  return { charts, clock, depthChart, draw, feed, model, setPaused, view };
})();
