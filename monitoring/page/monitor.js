"use strict";

/* The page: the link to the monitor, the movement, and what keys and buttons do.
 *
 * Read model.js, looks.js and chart.js first. Two rhythms meet here: once a second a frame of the
 * monitor changes words (map, table, numbers), and at the screen's rate the graphs move. Nothing is
 * drawn for a tab that nobody sees: the browser asks for no frames then.
 */

const ACK_AFTER_MS = 50;
const SETTINGS_EVERY_MS = 3000;
// Trouble that is over sooner is told by the coloured dot alone.
const WORDS_AFTER_MS = 1500;
const INKS = ["ink", "quiet", "axis", "grid", "faint", "card", "appeared", "back", "restarted", "gone", "failover", "dead-letter"];

const $ = (id) => document.getElementById(id);

const model = new Model();
const clock = new Clock();
const depthChart = new Chart($("depth-plot"), new LinearScale(), { showsEvents: true });
const rateChart = new Chart($("rate-plot"), new LogScale(), { showsEvents: false });
const charts = [depthChart, rateChart];
const map = new SystemMap($("map"));
const table = new Table($("table"));
const glance = new Glance($);
const eventList = new EventList($("events"), $("no-events"));

// --- The link ---

let feed = null; // a Dialer of webui/link.js
let epoch = null; // of the monitor whose frames we have, and how far we have come
let serial = 0;
let ackTimer = null;
let alone = ""; // why the monitor has no directory, if it has none
let news = false; // frames that have come since the last drawing

const settingsNow = () => JSON.stringify(window.BARKER ?? null);
let settings = settingsNow();

function connect() {
  feed?.close();
  feed = null;
  if (!window.BARKER?.secret) return;
  const { host, port, secret, tls } = window.BARKER;
  feed = new Dialer({ host, port }, { name: `page-${randomHex(4)}`, secret, tls }, null, {
    up: () => {
      feed.send({ op: "subscribe", address: "monitor", epoch, after: serial, window: 1000 });
      showState();
    },
    message: receive,
    down: showState,
  });
}

function receive(message) {
  if (message.op !== "message" && message.op !== "subscribed") return; // a gap shows as one
  epoch = message.epoch;
  serial = message.serial;
  if (message.op === "subscribed") return;
  if (model.add(message.body)) news = true;
  if (alone !== (message.body.alone ?? "")) {
    alone = message.body.alone ?? "";
    showState();
  }
  ackTimer ??= setTimeout(() => {
    ackTimer = null;
    feed?.send({ op: "ack", address: "monitor", serial });
    if (document.hidden) showFrame(); // no drawing will do it
  }, ACK_AFTER_MS);
}

/** Run the settings once more while nobody answers: the monitor may be another one by now. */
function readSettingsAgain() {
  if (feed?.up) return;
  const script = document.createElement("script");
  script.src = `monitor_host.js?${Date.now()}`; // else the browser remembers what was in it
  script.onload = script.onerror = () => {
    script.remove();
    if (settings === settingsNow()) return;
    settings = settingsNow();
    connect();
    showState();
  };
  document.head.append(script);
}

function trouble() {
  if (!window.BARKER?.secret) {
    return "The settings are missing: monitoring/monitor_host.js, which “python monitoring/launch.py” writes.";
  }
  const { code, message } = feed.fault ?? {};
  if (code === "bad-proof") return "The monitor has another secret than monitoring/monitor_host.js.";
  if (code === "bad-version") return "The monitor speaks another version of the protocol.";
  if (code === "settings") return message;
  const { host, port } = feed.place;
  return `Nobody answers at ${host}:${port}. “python monitoring/launch.py” starts the monitor; the graphs go on then.`;
}

function aloneWords() {
  return alone && `The monitor has no directory (${alone}): it sees whom it knew, and nobody who starts.`;
}

let downSince = performance.now();

function showState() {
  const up = feed?.up ?? false;
  const now = performance.now();
  downSince = up ? null : downSince ?? now;
  const lasting = !up && (!feed || feed.offline);
  document.documentElement.dataset.state = up ? "connected" : lasting ? "offline" : "reconnecting";
  setText($("state"), up ? "Live" : lasting ? "Offline" : epoch ? "Reconnecting" : "Connecting");
  const words = up ? aloneWords() : lasting || now - downSince > WORDS_AFTER_MS ? trouble() : "";
  setText($("words"), words);
  showTrust($("trust"), words && (feed?.fault?.url ?? ""));
  $("trouble").hidden = words === "";
}

// --- What is looked at ---

let span = 120_000;
let pausedAt = null; // the time at the right edge while paused
let cursor = -1; // the frame that is pointed at with keys
let pointer = null; // {chart, x} while a mouse or finger points

function cursorNow() {
  if (!pointer) return model.frame(cursor) ? cursor : -1;
  const at = pointer.chart.timeAt(pointer.x);
  const nearest = model.nearest(at);
  return nearest >= 0 && Math.abs(model.times[nearest % CAPACITY] - at) < GAP_MS ? nearest : -1;
}

/** The frame that words are about: the one pointed at, else the one at the edge of a paused graph,
 *  else the newest. */
function serialShown(pointed) {
  if (pointed >= 0) return pointed;
  return pausedAt === null ? model.next - 1 : model.nearest(pausedAt);
}

// --- Lines and their legends ---

const hidden = new Set(); // keys of lines
let version = -1;

function makeLines() {
  version = model.version;
  const columns = [...model.columns.values()].sort((a, b) => roleRank(a) - roleRank(b) || (a.name < b.name ? -1 : 1));
  const line = (column, field, dashed) => ({
    key: `${column.name} ${field}`,
    column,
    field,
    dashed,
    hidden: hidden.has(`${column.name} ${field}`),
    slot: slotOf(column.name),
    colour: colourOf(column.name),
    marker: new Path2D(markerOf(column.name)),
  });
  depthChart.lines = columns.filter((c) => c.role === "outbox").map((c) => line(c, "depth", false));
  rateChart.lines = columns.flatMap((c) => [line(c, "in", false), line(c, "out", true)]);
  showLegend($("depth-legend"), depthChart);
  showLegend($("rate-legend"), rateChart);
  for (const chart of charts) makeTip(chart);
}

/** One button for each line; those of one service stay together. */
function showLegend(root, chart) {
  const old = new Map([...root.children].map((group) => [group.dataset.service, group]));
  const lines = Map.groupBy(chart.lines, (l) => l.column.name);
  for (const [name, group] of old) if (!lines.has(name)) group.remove();
  arrange(root, [...lines].map(([name, some]) => old.get(name) ?? legendGroup(name, some)));
}

function legendGroup(name, lines) {
  const alone = lines.length === 1;
  const group = make("div", alone ? "" : "pair", ...(alone ? [] : [make("span", "", name)]));
  group.dataset.service = name;
  for (const l of lines) {
    const button = make("button", "", swatch(name, l.dashed), alone ? name : l.field);
    button.type = "button";
    button.dataset.key = l.key;
    button.setAttribute("aria-pressed", String(!l.hidden));
    if (!alone) button.setAttribute("aria-label", `${name} ${l.field}`);
    group.append(button);
  }
  return group;
}

function toggle(button) {
  const { key } = button.dataset;
  if (!hidden.delete(key)) hidden.add(key);
  button.setAttribute("aria-pressed", String(!hidden.has(key)));
  for (const line of charts.flatMap((chart) => chart.lines)) line.hidden = hidden.has(line.key);
  for (const chart of charts) chart.stale = true;
  tipShown.clear();
}

// --- Exact values beside the pointer ---

const tipShown = new Map(); // chart -> what it says, so as not to say it again

function makeTip(chart) {
  const time = make("th");
  const fields = [...new Set(chart.lines.map((l) => l.field))];
  const head = make("tr", "", time, ...fields.map((field) => make("th", "", field)));
  const rows = [...Map.groupBy(chart.lines, (l) => l.column.name)].map(([name, lines]) => {
    const cells = lines.map(() => make("td"));
    return { lines, cells, element: make("tr", "", make("th", "", swatch(name, false), name), ...cells) };
  });
  chart.root.querySelector(".tip").replaceChildren(make("table", "", head, ...rows.map((row) => row.element)));
  chart.tip = { time, rows };
  tipShown.delete(chart);
}

function showTip(chart, pointed) {
  const tip = chart.root.querySelector(".tip");
  tip.hidden = pointed < 0;
  if (pointed < 0) return;
  const slot = pointed % CAPACITY;
  if (tipShown.get(chart) !== pointed) {
    tipShown.set(chart, pointed);
    setText(chart.tip.time, clockText(model.times[slot]));
    for (const { lines, cells, element } of chart.tip.rows) {
      lines.forEach((l, i) => setText(cells[i], l.hidden ? "" : exactText(l, slot)));
      element.hidden = lines.every((l) => l.hidden || Number.isNaN(l.column[l.field][slot]));
    }
  }
  const x = chart.x(model.times[slot]);
  const room = chart.width - tip.offsetWidth - 14;
  tip.style.top = `${chart.up + 4}px`;
  tip.style.translate = `${Math.round(x + 14 < room ? x + 14 : Math.max(0, x - tip.offsetWidth - 14))}px 0`;
}

function exactText({ column, field }, slot) {
  const value = column[field][slot];
  if (field !== "depth") return rateText(value);
  const peak = column.peak[slot] > value ? ` (peak ${countText(column.peak[slot])})` : "";
  return countText(value) + peak + againText({ again: column.again[slot] });
}

/** In words, for those who move through the graphs with keys and listen. */
function say(chart, pointed) {
  if (version !== model.version) makeLines(); // a key can be faster than the first drawing
  const slot = pointed % CAPACITY;
  const parts = chart.lines.filter((l) => !l.hidden && !Number.isNaN(l.column[l.field][slot]))
    .map((l) => `${l.column.name}${l.field === "depth" ? "" : ` ${l.field}`} ${rateText(l.column[l.field][slot])}`);
  $("aloud").textContent = `${clockText(model.times[slot])}: ${parts.join(", ") || "nothing known"}`;
}

// --- Once a second, and at the screen's rate ---

let wordsShown = "";

/** Map, table and numbers for the frame that is looked at. */
function showFrame() {
  const shown = serialShown(cursorNow());
  const frame = model.frame(shown);
  if (!frame || wordsShown === `${shown} ${model.next} ${pausedAt}`) return;
  wordsShown = `${shown} ${model.next} ${pausedAt}`;
  map.show(model.latest); // "the system now" stays now, whatever the graphs are looking back at
  table.show(frame);
  glance.show(frame, model, shown);
  eventList.show(model.events);
  const past = shown !== model.next - 1;
  setText($("table-when"), past ? `at ${clockText(frame.at)}` : frame.left_out ? `and ${frame.left_out} more services` : "");
}

let ink = {};
const scheme = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function readInks() {
  const style = getComputedStyle(document.documentElement);
  ink = Object.fromEntries(INKS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  for (let i = 0; i < SLOTS; i += 1) ink[`--s${i}`] = style.getPropertyValue(`--s${i}`).trim();
  for (const chart of charts) chart.stale = true;
}

/** One picture, as of `now` (performance.now(), or any other time that a test likes). */
function draw(now) {
  if (news) {
    news = false;
    clock.heard(model.latest.at, now);
    for (const chart of charts) chart.stale = true;
  }
  if (version !== model.version) makeLines();
  let edge = pausedAt ?? clock.edge(now);
  if (edge === null) return;
  if (calm.matches) edge = Math.floor(edge / 1000) * 1000; // one step a second is no movement
  const pointed = cursorNow();
  for (const chart of charts) {
    if (chart.isCurrent(edge, span, pointed)) continue;
    chart.draw({ model, edge, span, cursor: pointed, ink, now, still: calm.matches });
    showTip(chart, pointed);
  }
  showFrame();
}

function frame(now) {
  requestAnimationFrame(frame);
  draw(now);
}

// --- Keys and buttons ---

function setPaused(paused) {
  pausedAt = paused ? clock.edge(performance.now()) : null;
  if (!paused) cursor = -1;
  const button = $("pause");
  button.setAttribute("aria-pressed", String(pausedAt !== null));
  setText(button, pausedAt === null ? "Pause" : "Resume");
  document.documentElement.dataset.paused = String(pausedAt !== null);
}

function pressed(event, chart) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const edge = model.nearest(pausedAt ?? clock.edge(performance.now()) ?? 0);
  const begin = model.nearest((pausedAt ?? clock.edge(performance.now()) ?? 0) - span);
  const step = event.shiftKey ? 10 : 1;
  const at = cursorNow() < 0 ? edge + 1 : cursorNow();
  const goal = { ArrowLeft: at - step, ArrowRight: at + step, Home: begin, End: edge }[event.key];
  if (goal !== undefined && model.next) {
    pointer = null;
    cursor = Math.max(begin, Math.min(edge, goal));
    say(chart, cursor);
  } else if (event.key === "Escape") {
    pointer = null;
    cursor = -1;
  } else if (event.key === " ") {
    setPaused(pausedAt === null);
  } else {
    return;
  }
  event.preventDefault();
}

for (const chart of charts) {
  const point = (event) => { pointer = { chart, x: event.offsetX }; };
  chart.canvas.addEventListener("pointermove", point);
  chart.canvas.addEventListener("pointerdown", point);
  chart.canvas.addEventListener("pointerleave", () => { pointer = null; });
  chart.root.addEventListener("keydown", (event) => pressed(event, chart));
  chart.root.addEventListener("blur", () => { cursor = -1; });
}
$("window").addEventListener("change", (event) => { span = 1000 * Number(event.target.value); });
$("pause").addEventListener("click", () => setPaused(pausedAt === null));
for (const id of ["depth-legend", "rate-legend"]) {
  $(id).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) toggle(button);
  });
}
scheme.addEventListener("change", readInks);
document.addEventListener("visibilitychange", () => { if (!document.hidden) feed?.hurry(); });

// --- Begin ---

readInks();
connect();
showState();
setInterval(showState, 500);
setInterval(readSettingsAgain, SETTINGS_EVERY_MS);
requestAnimationFrame(frame);
