"use strict";

/* Looks: which colour, marker and words a service or a number gets; the same in all parts of the page.
 *
 * A service keeps its slot for as long as the page lives. The slot follows from the name, so that it
 * is the same after a reload; two names that want the same slot get different ones all the same.
 * Colours tell eight services apart for all common kinds of colour vision (tests/test_monitor_page.py
 * computes it), and markers tell them apart without any.
 */

const SLOTS = 8; // --s0 to --s7 in monitor.css
// As SVG paths around (0, 0), good for a canvas and for a legend.
const MARKERS = [
  "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0Z", // circle
  "M-3.3 -3.3H3.3V3.3H-3.3Z", // square
  "M0 -4.4L4.2 3.2H-4.2Z", // triangle
  "M0 -4.8L4.3 0L0 4.8L-4.3 0Z", // diamond
  "M0 4.4L4.2 -3.2H-4.2Z", // triangle on its tip
  "M-1.5 -4.2H1.5V-1.5H4.2V1.5H1.5V4.2H-1.5V1.5H-4.2V-1.5H-1.5Z", // plus
  "M0 -4.8L1.4 -1.4L4.8 0L1.4 1.4L0 4.8L-1.4 1.4L-4.8 0L-1.4 -1.4Z", // star of four
  "M-2 -3.8H2L4 0L2 3.8H-2L-4 0Z", // hexagon
];
const slots = new Map();

function slotOf(name) {
  let slot = slots.get(name);
  if (slot === undefined) {
    const wish = [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0);
    const taken = new Set(slots.values());
    slot = wish % SLOTS;
    for (let i = 0; i < SLOTS && taken.has(slot); i += 1) slot = (wish + i) % SLOTS;
    if (taken.has(slot)) slot = (wish % SLOTS) + SLOTS * Math.floor(taken.size / SLOTS);
    slots.set(name, slot);
  }
  return slot;
}

const colourOf = (name) => `--s${slotOf(name) % SLOTS}`;
// From the ninth service on colours come again, with the next marker.
const markerOf = (name) => MARKERS[(slotOf(name) + Math.floor(slotOf(name) / SLOTS)) % MARKERS.length];

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** An element with a class, text and children. */
function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Only what has changed is written: a browser lays out again what was touched, changed or not. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setData(element, key, value) {
  if (element.dataset[key] !== value) element.dataset[key] = value;
}

/** Put these elements first into `parent`, in this order. What is in its place already is not touched:
 *  moving an element would take the focus from it. */
function arrange(parent, elements) {
  elements.forEach((element, i) => {
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
}

/** A piece of the service's line with its marker; `dashed` for what goes out. */
function swatch(name, dashed) {
  const line = { x1: -13, x2: 13, y1: 0, y2: 0, "stroke-width": 2.5, stroke: "currentColor" };
  if (dashed) line["stroke-dasharray"] = "5 3";
  const picture = svg(
    "svg",
    { viewBox: "-13 -6 26 12", width: 26, height: 12, class: "swatch", "aria-hidden": "true" },
    svg("line", line),
    svg("path", { d: markerOf(name), fill: "currentColor" }),
  );
  picture.style.color = `var(${colourOf(name)})`;
  return picture;
}

// --- Words ---

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const rough = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const NOTHING = "–";

const isKnown = (value) => value !== undefined && value !== null && !Number.isNaN(value);
const countText = (value) => (isKnown(value) ? whole.format(value) : NOTHING);
const rateText = (value) => (isKnown(value) ? (value < 100 ? fine : whole).format(value) : NOTHING);
const roughText = (value) => (isKnown(value) ? (value < 100 ? rough : whole).format(value) : NOTHING);
const percentText = (value) => (isKnown(value) ? `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %` : NOTHING);

function ageText(milliseconds) {
  if (!isKnown(milliseconds)) return NOTHING;
  const seconds = milliseconds / 1000;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function bytesText(count) {
  if (!isKnown(count)) return NOTHING;
  return count < 2 ** 30 ? `${Math.round(count / 2 ** 20)} MiB` : `${(count / 2 ** 30).toFixed(1)} GiB`;
}

/** A number on an axis: 0.1, 10, 1k, 2.5M. */
function tickText(value) {
  if (value >= 1e6) return `${value / 1e6}M`;
  return value >= 1e4 ? `${value / 1e3}k` : String(value);
}

const two = (number) => String(number).padStart(2, "0");

function clockText(at) {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

const GLYPHS = { appeared: "▲", back: "▲", restarted: "↻", gone: "✕", failover: "⇄", "dead-letter": "!" };

/** In few words, for the time axis. */
function eventText(event) {
  if (event.what === "failover") return `${event.was} → ${event.name}${againText(event)}`;
  if (event.what === "dead-letter") return `${event.name}: ${lettersText(event.letters)}`;
  return `${event.name} ${event.what}`;
}

/** In full, for the list. */
function eventSentence(event) {
  if (event.what === "failover") return `${event.service} failed over from ${event.was} to ${event.name}${againText(event)}`;
  if (event.what === "dead-letter") return `${event.name} has ${lettersText(event.letters, "new ")}${whichLetters(event.name, event.latest)}`;
  return eventText(event);
}

/** Dead letters: what was acked, and was then refused for good. A person has to look at each. */
const lettersText = (count, kind = "") => (count === 1 ? `1 ${kind}dead letter` : `${countText(count)} ${kind}dead letters`);

/** The latest of them and its reason, and where they are. */
function whichLetters(name, latest) {
  return `${latest ? `. The latest: ${latest}` : ""}. Look into var/dead-letters/${name}.jsonl`;
}

/** Of a failover: what it cost the barks that were on their way. */
function againText({ again }) {
  return again ? `, ${countText(again)} sent again` : "";
}
