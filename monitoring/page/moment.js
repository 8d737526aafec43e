"use strict";
/* The moment: the second that all parts of the page show, and whether that is now.
 *
 * It is the second that is pointed at, else the one at the right edge of a paused graph, else the newest.
 * Tiles, map, events and table get their frame from here, and show its time unless it is now.
 *
 * Global: Moment. Uses: Model, Words.
 */

const Moment = (() => {
  const { CAPACITY, GAP_MS } = Model;
  const { agoText, clockText } = Words;

  // Frames come once a second. When none has come for this long, the newest is not "now" any more.
  const OLD_MS = 3500;

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

  return { View };
})();
