"use strict";
/* The list of barks: how one looks, and how many there are at a time.
 *
 * Two rules:
 *
 * - Text is text. A user's text gets onto the page as the content of a text node, so there is no markup
 *   to filter. No code in these files parses HTML, and a test checks that.
 * - Work is bounded. Barks queue up until the next frame and are put on top all at once, however many
 *   they are; the list never holds more than MAX_SHOWN, and neither does the queue. The browser
 *   draws no frames for a hidden tab, and while the list is held nothing in it moves: barks wait.
 *
 * Global: Stream. Uses: Elements, Inbox, Address, Times.
 */

const Stream = (() => {
  const { make, makeButton, sentence, setText } = Elements;

  const MAX_SHOWN = 200;

  // A bark of 280 characters in plain words has fewer lines, also at 320 pixels.
  const MAX_LINES = 14;

  // An @mention is as in barker/wire/bodies.py, since the system delivers by it. A #tag is the page's
  // own idea: at the beginning of a word, with at least one letter, so that #1 is a number.
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

  /** A link to a user's view, of all barks or of some; a click on it is handled without loading the page
   *  again (barker.js). */
  function userLink(className, user, text, filter = {}) {
    const link = make("a", className, text);
    link.href = Address.viewUrl(user, filter);
    Object.assign(link.dataset, { user, ...filter });
    return link;
  }

  /** The #tags of a text, in small letters and without the #. */
  const tagsIn = (text) => [...text.matchAll(MARKS)].filter((match) => !match[1]).map(([mark]) => mark.slice(1).toLowerCase());

  /** The text of a bark with its @mentions and #tags marked, as nodes. */
  function marked(text, reader) {
    const nodes = [];
    let done = 0;
    for (const match of text.matchAll(MARKS)) {
      nodes.push(text.slice(done, match.index));
      const user = match[1];
      const mark = user ? userLink(user === reader ? "mention me" : "mention", user, match[0])
        : userLink("tag", reader, match[0], { tag: match[0].slice(1).toLowerCase() });
      mark.dir = user ? "ltr" : "auto"; // of its own, also in a text from right to left
      nodes.push(mark);
      done = match.index + match[0].length;
    }
    nodes.push(text.slice(done));
    return nodes;
  }

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
      Times.element(at),
      entry.own ? undefined : followButton(user),
      make("span", "fate"),
    );
    const item = make("li", entry.own ? "bark own" : "bark", face, make("div", "said", head, text, entry.way?.element));
    item.dataset.key = Inbox.barkKey(entry.bark);
    entry.item = item;
    showFate(entry);
    showWhy(entry);
    return item;
  }

  const FATES = { sending: "Sending…", sent: "Sent, not delivered yet", refused: "Not sent" };

  function showFate({ item, fate, delivered }) {
    if (!item || !fate) return;
    item.dataset.fate = fate;
    item.dataset.delivered = String(Boolean(delivered));
    const arrived = fate === "sent" && delivered;
    const mark = item.querySelector(".fate");
    setText(mark, arrived ? "Sent, delivered" : FATES[fate]);
  }

  /** Show why a bark was refused, and the choices. The bark gets higher by it. */
  function showWhy({ item, fate, reason }) {
    if (fate !== "refused" || item.querySelector(".why")) return;
    const why = make("p", "why", `${sentence(reason)} `, actButton("edit", "Edit"), " ", actButton("discard", "Discard"));
    item.querySelector(".said").append(why);
  }

  /** A button in a bark; barker.js does the act. */
  function actButton(act, text) {
    const button = makeButton("act", text);
    button.dataset.act = act;
    return button;
  }

  /** Of a bark that is far too high show only the beginning, with a button for the rest. */
  function fold(items) {
    const most = MAX_LINES * parseFloat(getComputedStyle(document.body).lineHeight);
    const high = [...items].map((item) => item.querySelector(".text:not(:has(+ .act))")) // not folded yet
      .filter((text) => text?.offsetHeight > most);
    for (const text of high) {
      const button = actButton("unfold", "Show all of it");
      button.setAttribute("aria-expanded", "false");
      text.classList.add("folded");
      text.after(button);
    }
  }

  function unfold(button) {
    const text = button.previousElementSibling;
    const open = text.classList.toggle("folded") === false;
    button.setAttribute("aria-expanded", String(open));
    setText(button, open ? "Show less" : "Show all of it");
  }

  /** The list, newest on top. While `held()` nothing in it may move; `changed()` is called after every
   *  frame in which something happened; `matches(entry)`: is it one of those that are shown? `followButton` is
   *  for items. */
  class List {
    constructor(list, { held, changed, matches, followButton }) {
      Object.assign(this, { list, held, changed, matches, followButton });
      this.entries = new WeakMap(); // by item
      this.frame = null;
      this.clear("");
    }

    clear(reader) {
      this.reader = reader;
      this.queue = []; // oldest first
      this.waiting = 0; // barks that are not in the list yet
      this.cut = false; // was the list ever longer than its limit?
      this.list.replaceChildren();
    }

    /** The whole state of this reader's list, for `restore`. */
    get content() {
      const { reader, queue, waiting, cut } = this;
      return { reader, queue, waiting, cut, items: [...this.list.children] };
    }

    restore({ items, ...rest }) {
      Object.assign(this, rest);
      this.list.replaceChildren(...items);
      this.soon();
    }

    add(entry) {
      this.queue.push(entry);
      if (entry.bark && !entry.fate && this.matches(entry)) this.waiting += 1; // one's own is seen already
      if (this.queue.length > 2 * MAX_SHOWN) { // twice: so that this costs next to nothing per bark
        this.queue = this.queue.slice(-MAX_SHOWN);
        this.cut = true;
      }
      this.soon();
    }

    item(entry) {
      return makeItem(entry, this.reader, this.followButton);
    }

    /** Draw with the next frame, all at once. An empty list has nothing that could move. */
    soon() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        if (!this.list.firstChild || !this.held()) this.show();
        this.changed();
      });
    }

    /** Put all that waits on top, and remove the surplus at the bottom. */
    show() {
      const entries = this.queue.slice(-MAX_SHOWN).reverse();
      this.queue = []; // first of all: an entry that can't be shown must not come back with every frame
      this.waiting = 0;
      const fragment = document.createDocumentFragment();
      for (const entry of entries) {
        entry.item?.remove(); // from the list of unsent barks
        const item = this.item(entry);
        this.entries.set(item, entry);
        item.hidden = !this.matches(entry);
        fragment.append(item);
      }
      const items = [...fragment.children];
      this.list.prepend(fragment);
      while (this.list.childElementCount > MAX_SHOWN) {
        ([...this.list.children].findLast((item) => item.hidden) ?? this.list.lastElementChild).remove();
        this.cut = true;
      }
      fold(items);
    }

    refilter() {
      for (const item of this.list.children) item.hidden = !this.matches(this.entries.get(item));
      this.waiting = this.queue.filter((entry) => entry.bark && !entry.fate && this.matches(entry)).length;
      fold(this.list.children);
      this.changed();
    }
  }

  return { List, MAX_SHOWN, fold, paintFace, showFate, showWhy, tagsIn, unfold, userLink };
})();
