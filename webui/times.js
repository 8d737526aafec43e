"use strict";
/* Times: the present time, the age of a bark, and elements that show it.
 *
 * The clock of this browser may be slow. A bark cannot come before it was said. So barks from the future
 * show by how much, once two authors agree; one author's clock may itself be wrong. Late barks show
 * nothing, so a fast clock is not noticed.
 *
 * Global: Times. Uses: Elements.
 */

const Times = (() => {
  const { make, setText } = Elements;

  // Clocks of one house differ by less, and a message takes some of it.
  const SKEW_MS = 5000;
  const MAX_AUTHORS = 50;

  const ahead = new Map(); // author -> by how many ms the last bark was ahead of our clock
  let behind = 0;

  /** Called for every bark of others, with its author and its time. */
  function learn(user, at) {
    if (!Number.isSafeInteger(at)) return;
    ahead.delete(user);
    ahead.set(user, at - Date.now());
    if (ahead.size > MAX_AUTHORS) ahead.delete(ahead.keys().next().value);
    let first = 0, second = 0;
    for (const by of ahead.values()) {
      if (by > first) [first, second] = [by, first];
      else if (by > second) second = by;
    }
    behind = second > SKEW_MS ? second : 0;
  }

  /** Milliseconds since 1970, by the clock of the system as far as it is known. */
  const now = () => Date.now() + behind;

  const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
  const thisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  const anyYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

  /** How long ago `at` was, in as few characters as will do; a date from a week on. Up to an hour ahead
   *  counts as now: one of the two clocks is wrong. */
  function ago(at, time) {
    const seconds = Math.floor((time - at) / 1000);
    if (seconds < 5 && seconds > -HOUR) return "now";
    if (seconds >= 0 && seconds < MINUTE) return `${seconds} s`;
    if (seconds >= 0 && seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
    if (seconds >= 0 && seconds < DAY) return `${Math.floor(seconds / HOUR)} h`;
    if (seconds >= 0 && seconds < 7 * DAY) return `${Math.floor(seconds / DAY)} d`;
    const sameYear = new Date(at).getFullYear() === new Date(time).getFullYear();
    return (sameYear ? thisYear : anyYear).format(at);
  }

  function element(at) {
    const time = make("time", "at");
    const date = new Date(typeof at === "number" ? at : NaN);
    if (!Number.isNaN(date.getTime())) { // JavaScript's years end before the wire's numbers do
      time.dateTime = date.toISOString();
      time.title = fullTime.format(date);
      time.at = at;
      time.textContent = ago(at, now());
    }
    return time;
  }

  function age(root) {
    const time = now();
    for (const shown of root.getElementsByTagName("time")) {
      if (shown.at !== undefined) setText(shown, ago(shown.at, time));
    }
  }

  return { age, ago, element, learn, now };
})();
