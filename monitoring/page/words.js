"use strict";
/* Words: the spelling of numbers, times and events; the same in all parts of the page.
 *
 * Global: Words. Uses: nothing.
 */

const Words = (() => {
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

  /** A length of time in whole units: the uptime of a process. */
  function spanText(milliseconds) {
    const seconds = Math.max(0, Math.floor(milliseconds / 1000));
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
  }

  const delayText = (milliseconds) => (milliseconds < 1000 ? `${roughText(milliseconds)} ms` : ageText(milliseconds));

  /** A mean delay, the longest, and the barks that are in neither. */
  function delayWords(delay, longest, leftOut) {
    const more = longest > delay ? ` (longest ${delayText(longest)})` : "";
    return (isKnown(delay) ? delayText(delay) + more : NOTHING) + (leftOut ? `; ${countText(leftOut)} over 10 min left out` : "");
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

  // The kinds of events (monitoring/picture.py): a glyph, few words for the time axis, and all of them for
  // the list. A service goes in one of three ways, each with words of its own.
  const EVENTS = {
    appeared: ["▲", ({ name }) => `${name} appeared`],
    back: ["▲", ({ name }) => `${name} back`, ({ name }) => `${name} is back: the same process answers again`],
    restarted: ["↻", ({ name }) => `${name} restarted`, ({ name }) => `${name} restarted: a new process has its name`],
    stopped: ["■", ({ name }) => `${name} stopped`, ({ name }) => `${name} stopped in good order`],
    died: ["✕", ({ name }) => `${name} died`, ({ name }) => `${name} died: its connection ended without a goodbye`],
    silent: ["‖", ({ name }) => `${name} silent`, ({ name }) => `${name} is silent: frozen, or cut off`],
    failover: [
      "⇄",
      (event) => `${event.was} → ${event.name}${againText(event)}`,
      (event) => `${event.service} failed over from ${event.was} to ${event.name}${againText(event)}`,
    ],
    "dead-letter": [
      "!",
      ({ name, letters }) => `${name}: ${lettersText(letters)}`,
      ({ name, letters, latest }) => `${name} has ${lettersText(letters, "new ")}${whichLetters(name, latest)}`,
    ],
    waits: ["…", ({ name }) => `${name} waits`, ({ name, why }) => (why ? `${name}: ${why}` : `${name} waits`)],
    "left-out": ["+", ({ name, others }) => `${countText(others)} more left out, the last of ${name}`],
  };
  // A monitor that is newer than this page.
  const UNKNOWN = ["•", (event) => `${event.name}: ${event.what}`];

  const kindOf = ({ what, how }) => how ?? what;
  const entryOf = (event) => EVENTS[kindOf(event)] ?? UNKNOWN;
  const glyphOf = (event) => entryOf(event)[0];
  const eventText = (event) => entryOf(event)[1](event);
  const eventSentence = (event) => (entryOf(event)[2] ?? entryOf(event)[1])(event);

  /** Of a service that is not up: since when, and how it went. */
  function goneText({ gone, how }) {
    if (!gone) return "no answer";
    return `${how === "silent" ? "silent since" : `${how} at`} ${clockText(gone)}`;
  }

  function agoText(milliseconds) {
    const seconds = Math.max(0, Math.round(milliseconds / 1000));
    return seconds < 120 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
  }

  /** Dead letters: entries that were acked, and then refused for good. A person has to look at each. */
  const lettersText = (count, kind = "") => (count === 1 ? `1 ${kind}dead letter` : `${countText(count)} ${kind}dead letters`);

  /** The latest of them and its reason, and where they are. */
  function whichLetters(name, latest) {
    return `${latest ? `. The latest: ${latest}` : ""}. Look into var/dead-letters/${name}.jsonl`;
  }

  /** Of a failover: its cost for the barks that were on their way. */
  function againText({ again }) {
    return again ? `, ${countText(again)} sent again` : "";
  }

  const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

  return {
    EVENTS, againText, ageText, agoText, bytesText, capital, clockText, countText, delayText, delayWords, eventSentence,
    eventText, glyphOf, goneText, isKnown, kindOf, lettersText, percentText, rateText, roughText, spanText, tickText,
    whichLetters,
  };
})();
