"use strict";
/* Aloud: the page's messages for screen readers. Each is a new line in a log that is not drawn.
 *
 * A person's act is answered at once. Of barks there is a summary now and then, never every bark, and
 * none while the list is paused.
 *
 * Global: Aloud. Uses: Elements.
 */

const Aloud = (() => {
  const { $, make } = Elements;

  const EVERY_MS = 10_000;
  // Lines that stay in the log: a screen reader may take its time.
  const MAX_LINES = 4;

  function say(text) {
    $("aloud").append(make("p", "", text));
    if ($("aloud").childElementCount > MAX_LINES) $("aloud").firstElementChild.remove();
  }

  let count = 0, latest = null, timer = null;

  function bark(body) {
    count += 1;
    latest = body;
    timer ??= setTimeout(() => {
      timer = null;
      if (count) say(count === 1 ? `${latest.user} barks: ${latest.content}` : `${count} new barks, the latest by ${latest.user}`);
      count = 0;
    }, EVERY_MS);
  }

  function hush() {
    count = 0;
  }

  return { bark, hush, say };
})();
