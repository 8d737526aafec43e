"use strict";

/* Words: how numbers, times and events are written; the same in all parts of the page.
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

  return {
    GLYPHS,
    againText,
    ageText,
    bytesText,
    clockText,
    countText,
    eventSentence,
    eventText,
    isKnown,
    lettersText,
    percentText,
    rateText,
    roughText,
    tickText,
    whichLetters,
  };
})();
