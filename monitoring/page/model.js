"use strict";
/* The model: the last ten minutes of frames, as columns of numbers. No code here draws or listens.
 *
 * A frame is what monitoring/picture.py makes once a second. Frames lie in a ring: slot = serial
 * modulo CAPACITY, and every line that can be drawn has a column with one number per slot. NaN is
 * "nothing known", and the reason why a gap in the data is a gap in the line. All columns have their
 * whole size from the beginning, so an hour costs what ten minutes cost.
 *
 * Global: Model. Uses: nothing.
 */

const Model = (() => {
  // Ten minutes, and a little more so that a line still reaches the left edge of the widest window.
  const CAPACITY = 620;
  // Frames come once a second. Between two that are further apart, nothing is known.
  const GAP_MS = 2500;
  const MAX_EVENTS_KEPT = 200;
  // A clock that was put back by this much begins another time; less is a repetition.
  const ANOTHER_TIME_MS = 60_000;

  // The lines a service can have. `peak` shades the part above `depth`, as `longest` does above `delay`.
  // `again` is a bar: barks that had been on their way to a service that died, and went out once more.
  const FIELDS = {
    depth: "backlog", peak: "peak", again: "again", in: "in", out: "out",
    delay: "delay_ms", longest: "delay_max_ms", leftOut: "delay_over",
  };
  // An outbox and the monitor each notice a death for themselves: at once, or three heartbeats after a
  // freeze. Barks that were sent again within this of a failover belong to it.
  const SWITCH_MS = 3000;
  // The roles with lines: those that a bark passes.
  const DRAWN = ["outbox", "bizlogic", "inbox"];

  // The queue counts as stuck once its oldest bark has waited for as long as the first, and until none
  // has waited for as long as the second: between the two it stays as it was, so nothing flickers.
  const STUCK_MS = 2000;
  const MOVING_MS = 1000;

  // How far behind the newest frame the right edge of the graphs is.
  const EDGE_MS = 1150;

  class Frames {
    constructor() {
      this.clear();
    }

    clear() {
      this.frames = new Array(CAPACITY).fill(null);
      this.times = new Float64Array(CAPACITY).fill(NaN);
      this.stuck = new Array(CAPACITY).fill(false);
      this.columns = new Map(); // name of the service -> {name, kind, last, and one of each of FIELDS}
      this.events = [];
      this.unclaimed = []; // {at, count}: barks sent again, whose failover has not come yet
      this.next = 0; // serial of the frame to come; the newest one is next - 1
      this.version = 0; // changes whenever the set of columns does
    }

    get first() {
      return Math.max(0, this.next - CAPACITY);
    }

    frame(serial) {
      return serial >= this.first && serial < this.next ? this.frames[serial % CAPACITY] : null;
    }

    get latest() {
      return this.frame(this.next - 1);
    }

    /** Take a frame over; false if it is one that we have had. */
    add(frame) {
      const last = this.latest;
      if (last && frame.at <= last.at) {
        if (last.at - frame.at < ANOTHER_TIME_MS) return false;
        this.clear();
      }
      const slot = this.next % CAPACITY;
      this.stuck[slot] = this.isStuckAfter(last, frame);
      this.frames[slot] = frame;
      this.times[slot] = frame.at;
      for (const column of this.columns.values()) {
        for (const field in FIELDS) column[field][slot] = NaN;
      }
      for (const row of frame.services) {
        if (!DRAWN.includes(row.kind)) continue;
        const column = this.column(row);
        if (row.backlog === undefined) continue; // no sample of it came in this second
        column.last = this.next;
        for (const field in FIELDS) column[field][slot] = row[FIELDS[field]] ?? NaN;
      }
      this.next += 1;
      for (const [name, column] of this.columns) {
        if (column.last < this.first) { // it has left the widest window
          this.columns.delete(name);
          this.version += 1;
        }
      }
      for (const event of frame.events) event.serial = this.next - 1; // the second that it belongs to
      this.events.push(...frame.events);
      this.claimAgain(frame);
      const tooMany = Math.max(0, this.events.length - MAX_EVENTS_KEPT);
      const begin = this.frames[this.first % CAPACITY].at;
      let old = tooMany;
      while (old < this.events.length && this.events[old].at < begin) old += 1;
      if (old) this.events.splice(0, old);
      return true;
    }

    isStuckAfter(last, frame) {
      const was = last !== null && this.stuck[(this.next - 1) % CAPACITY];
      const oldest = oldestOf(frame);
      return oldest === null ? was && frame.depth !== 0 : oldest >= (was ? MOVING_MS : STUCK_MS);
    }

    isStuck(serial) {
      return this.frame(serial) !== null && this.stuck[serial % CAPACITY];
    }

    /** Give the latest failover the barks that were sent again because of it, as its `again`. */
    claimAgain(frame) {
      const rows = frame.services.filter((row) => row.kind === "outbox");
      const count = rows.reduce((sum, row) => sum + (row.again ?? 0), 0);
      if (count) this.unclaimed.push({ at: frame.at, count });
      const failover = this.events.findLast((event) => event.what === "failover");
      this.unclaimed = this.unclaimed.filter(({ at, count: more }) => {
        if (!failover || at - failover.at > SWITCH_MS) return frame.at - at < SWITCH_MS;
        failover.again = (failover.again ?? 0) + more;
        return false;
      });
    }

    column(row) {
      let column = this.columns.get(row.name);
      if (!column) {
        column = { name: row.name, kind: row.kind, last: this.next };
        for (const field in FIELDS) column[field] = new Float64Array(CAPACITY).fill(NaN);
        this.columns.set(row.name, column);
        this.version += 1;
      }
      return column;
    }

    /** Serial of the frame nearest to a time; -1 without frames. */
    nearest(at) {
      if (this.next === 0) return -1;
      let low = this.first, high = this.next - 1;
      while (low < high) { // the first frame at or after `at`
        const middle = (low + high) >> 1;
        if (this.times[middle % CAPACITY] < at) low = middle + 1;
        else high = middle;
      }
      const before = Math.max(this.first, low - 1);
      const here = this.times[low % CAPACITY], there = this.times[before % CAPACITY];
      return Math.abs(at - there) < Math.abs(here - at) ? before : low;
    }
  }

  /** How long the oldest bark of all outboxes waits, in milliseconds; null if none waits. */
  function oldestOf(frame) {
    const ages = frame.services.filter((row) => row.kind === "outbox").map((row) => row.oldest_ms ?? -1);
    const oldest = Math.max(-1, ...ages);
    return oldest < 0 ? null : oldest;
  }

  /** The sum over all services of a kind; null if those that are up have no figures in this second. */
  function sum(frame, kind, field) {
    const rows = frame.services.filter((row) => row.kind === kind && row.up);
    const values = rows.map((row) => row[field]).filter((value) => value !== undefined && value !== null);
    return rows.length && !values.length ? null : values.reduce((total, value) => total + value, 0);
  }

  /** The place of "now" on the monitor's clock, from the arrival of its frames.
   *
   * The graphs show the time a little over a second ago, so that the next frame is always there before
   * the right edge reaches it: so the movement is smooth. */
  class Clock {
    constructor() {
      this.offset = null; // monitor's time minus ours
    }

    /** The newest frame of a batch has just come. */
    heard(at, now) {
      const offset = at - now;
      const away = this.offset === null ? Infinity : offset - this.offset;
      // A message can be late, and never early: so follow at once to one side, slowly to the other.
      if (away > 0 || away < -5000) this.offset = offset;
      else this.offset += 0.02 * away;
    }

    /** The age of something, by the monitor's clock. */
    age(at, now) {
      return this.offset === null ? 0 : now + this.offset - at;
    }

    edge(now) {
      return this.offset === null ? null : now + this.offset - EDGE_MS;
    }
  }

  return { CAPACITY, Clock, DRAWN, Frames, GAP_MS, MAX_EVENTS_KEPT, oldestOf, sum };
})();
