"use strict";

/* The list of barks: what one looks like, and how many there are at a time.
 *
 * Two rules:
 *
 * - Text is text. Whatever somebody wrote gets onto the page as the content of a text node, so there
 *   is no markup to filter. Nothing in these files parses HTML, and a test sees to that.
 * - Work is bounded. Barks queue up until the next frame and are put on top all at once, however many
 *   they are; the list never holds more than MAX_SHOWN, and neither does the queue. The browser
 *   draws no frames for a hidden tab or while somebody reads further down: then barks just wait.
 *
 * Global: Stream. Uses: Elements, Client, Address.
 */

const Stream = (() => {
  const { make } = Elements;

  const MAX_SHOWN = 200;

  // An @mention is what barker/wire/bodies.py takes for one, since the system delivers by it. A #tag is the
  // page's own idea: at the beginning of a word, with at least one letter, so that #1 is a number.
  const MARKS = /(?<![A-Za-z0-9_@])@([a-z][a-z0-9_]{0,19})(?![A-Za-z0-9_])|(?<=^|[\s(["'“‘])#(?=[\p{N}_]*\p{L})[\p{L}\p{N}_]+/gu;

  /** A colour for a name, always the same one. */
  function hue(name) {
    let sum = 7;
    for (const letter of name) sum = (31 * sum + letter.codePointAt(0)) % 997;
    return (sum * 47) % 360;
  }

  function paintFace(element, user) {
    element.textContent = user.slice(0, 1);
    element.style.setProperty("--hue", hue(user));
    return element;
  }

  /** A link to somebody's view; a click on it is handled without loading the page again (barker.js). */
  function userLink(className, user, text) {
    const link = make("a", className, text);
    link.href = Address.viewUrl(user);
    link.dataset.user = user;
    return link;
  }

  /** The text of a bark with its @mentions and #tags marked, as nodes. */
  function marked(text, reader) {
    const nodes = [];
    let done = 0;
    for (const match of text.matchAll(MARKS)) {
      nodes.push(text.slice(done, match.index));
      const user = match[1];
      if (user) nodes.push(userLink(user === reader ? "mention me" : "mention", user, match[0]));
      else nodes.push(make("span", "tag", match[0]));
      done = match.index + match[0].length;
    }
    nodes.push(text.slice(done));
    return nodes;
  }

  // --- Times ---

  const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
  const thisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  const anyYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

  /** How long ago `at` was, in as few characters as will do; a date from a week on. */
  function ago(at, now) {
    const seconds = Math.floor((now - at) / 1000);
    if (seconds < 5 && seconds > -MINUTE) return "now"; // clocks differ a little
    if (seconds >= 0 && seconds < MINUTE) return `${seconds} s`;
    if (seconds >= 0 && seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
    if (seconds >= 0 && seconds < DAY) return `${Math.floor(seconds / HOUR)} h`;
    if (seconds >= 0 && seconds < 7 * DAY) return `${Math.floor(seconds / DAY)} d`;
    const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
    return (sameYear ? thisYear : anyYear).format(at);
  }

  function timeOf(at) {
    const time = make("time", "at");
    const date = new Date(typeof at === "number" ? at : NaN);
    if (!Number.isNaN(date.getTime())) { // JavaScript's years end before the wire's numbers do
      time.dateTime = date.toISOString();
      time.title = fullTime.format(date);
      time.at = at;
      time.textContent = ago(at, Date.now());
    }
    return time;
  }

  /** Let the times below an element grow older. */
  function age(root) {
    const now = Date.now();
    for (const time of root.getElementsByTagName("time")) {
      if (time.at === undefined) continue;
      const text = ago(time.at, now);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // --- Barks ---

  /** One entry of the stream as a list item: {bark, own, fate, reason, delivered} or {note}.
   *  `followButton` makes the button that stands in barks of others. */
  function makeItem(entry, reader, followButton) {
    if (entry.note) return make("li", "note", entry.note);
    const { user, content, at, kind } = entry.bark;
    const face = paintFace(userLink("face", user), user);
    face.tabIndex = -1; // the name beside it leads to the same place
    face.setAttribute("aria-hidden", "true");
    const text = make("p", "text", ...marked(content, reader));
    text.dir = "auto"; // a bark in Hebrew must not turn the line around it
    const head = make(
      "p", "head",
      userLink("author", user, user),
      entry.own ? make("span", "chip", "you") : undefined,
      typeof kind === "string" ? make("span", "chip", kind) : undefined,
      timeOf(at),
      entry.own ? undefined : followButton(user),
      make("span", "fate"),
    );
    const item = make("li", entry.own ? "bark own" : "bark", face, make("div", "said", head, text));
    item.dataset.key = Client.barkKey(entry.bark);
    entry.item = item;
    showFate(entry);
    return item;
  }

  const FATES = { sending: "Sending…", sent: "Sent", refused: "Not sent" };

  /** What has become of a bark of our own, since it was typed here. */
  function showFate(entry) {
    const { item, fate, delivered, reason } = entry;
    if (!item || !fate) return;
    item.dataset.fate = fate;
    item.dataset.delivered = String(Boolean(delivered));
    const arrived = fate === "sent" && delivered;
    const mark = item.querySelector(".fate");
    mark.textContent = arrived ? "Sent, delivered" : FATES[fate];
    mark.title = arrived ? "It went through the outbox, the business logic and your own inbox"
      : fate === "sent" ? "The outbox has it: from here on it is the system's to lose"
        : fate === "sending" ? "Kept here until the outbox has it" : "";
    if (fate === "refused" && !item.querySelector(".why")) {
      const edit = make("button", "", "Edit");
      const drop = make("button", "", "Discard");
      edit.dataset.act = "edit";
      drop.dataset.act = "discard";
      item.querySelector(".said").append(make("p", "why", `${reason} `, edit, " ", drop));
    }
  }

  /** The list, newest on top. `reading()` is true while a person reads, who would mind if it moved;
   *  `changed()` is called after every frame in which something happened; `followButton` is for items. */
  class List {
    constructor(list, { reading, changed, followButton }) {
      this.list = list;
      this.reading = reading;
      this.changed = changed;
      this.followButton = followButton;
      this.frame = null;
      this.clear("");
    }

    clear(reader) {
      this.reader = reader;
      this.queue = []; // oldest first
      this.held = 0; // barks that wait until somebody asks for them
      this.cut = false; // has the list ever been longer than it may be?
      this.list.replaceChildren();
    }

    add(entry) {
      this.queue.push(entry);
      if (entry.bark) this.held += 1;
      if (this.queue.length > 2 * MAX_SHOWN) { // twice: so that this costs next to nothing per bark
        this.queue = this.queue.slice(-MAX_SHOWN);
        this.cut = true;
      }
      this.soon();
    }

    /** An entry as an item for this list's reader. */
    item(entry) {
      return makeItem(entry, this.reader, this.followButton);
    }

    /** Whatever happens until then is drawn in one go. */
    soon() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        if (!this.reading()) this.show();
        this.changed();
      });
    }

    /** Put all that waits on top, and take off at the bottom what is too much. */
    show() {
      const entries = this.queue.slice(-MAX_SHOWN).reverse();
      this.queue = []; // first of all: what can't be shown must not come back with every frame
      this.held = 0;
      const fragment = document.createDocumentFragment();
      for (const entry of entries) fragment.append(this.item(entry));
      this.list.prepend(fragment);
      while (this.list.childElementCount > MAX_SHOWN) {
        this.list.lastElementChild.remove();
        this.cut = true;
      }
    }
  }

  return { List, MAX_SHOWN, age, ago, paintFace, showFate, userLink };
})();
