"use strict";

/* The page: whose view it is, the box to bark into, and what is kept for a reload.
 *
 * Read the files that index.html loads first, in its order; here they come together. What the page
 * keeps itself is little: drafts, one for each user, and barks that were typed and have not been
 * taken over yet. Both survive every reconnect, a change of view and even a reload.
 *
 * Global: Barker. Uses: Settings, Elements, Link, Client, Address, Stream, Follow, Status.
 */

const Barker = (() => {
  const { $ } = Elements;
  const { MAX_UNSENT, REMEMBERED, barkKey } = Client;
  const { MAX_SHOWN } = Stream;

  const MAX_CHARACTERS = 280; // code points, as everywhere in Barker
  // Scrolled down by this much, one is reading, and what is being read must not move.
  const READING_PX = 8;
  // A screen reader hears of new barks at most this often.
  const ALOUD_EVERY_MS = 10_000;
  // While nobody answers: look this often whether the launcher has written other settings.
  const SETTINGS_EVERY_MS = 1000;

  // --- What the page is made of ---

  const client = Client.connect(Address.directoryPlace(), Settings.current() ?? {}, {
    changed: () => status.show(),
    bark: arrive,
    suggestion: (body) => panel.suggestion(body),
    gap: missed,
    settled,
    refused,
    noSuchUser: (reason) => { status.noSuchUser = reason; status.show(); },
  });
  const status = new Status.Panel(client);
  const panel = new Follow.Panel(client, {
    joined: (user) => { visit(user); $("text").focus(); },
  });
  const stream = new Stream.List($("stream"), {
    reading: isReading,
    changed: streamChanged,
    followButton: (user) => panel.button(user),
  });

  const readSettingsAgain = Settings.reader(
    "barker_host.js",
    () => [Address.directoryPlace(), Settings.current()?.secret, Settings.current()?.tls],
    () => {
      fillUsers();
      client.settle(Address.directoryPlace(), Settings.current());
    },
  );

  // --- What is kept for a reload ---

  const drafts = new Map(); // user -> text
  // Under the directory's place, since what was typed for one system is not another's.
  const storageKey = () => `barker ${JSON.stringify(Address.directoryPlace())}`;

  function remember() {
    drafts.set(client.user, $("text").value);
    const kept = { drafts: [...drafts], unsent: client.unsent };
    try {
      sessionStorage.setItem(storageKey(), JSON.stringify(kept));
    } catch { /* storage is switched off or full: then a reload forgets, and nothing else is lost */ }
  }

  /** Fill in the drafts; returns the barks that are still to be sent. */
  function recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(storageKey()));
      for (const [user, text] of kept.drafts) drafts.set(user, text);
      return kept.unsent;
    } catch { // nothing there, or nothing that we have written
      return [];
    }
  }

  // --- Barks that come ---

  // Barks typed here, by key, as entries of the list: their fate is told until they are forgotten.
  const mine = new Map();

  /** Would it disturb somebody if the list moved? */
  function isReading() {
    return window.scrollY > READING_PX || $("stream").querySelector(":focus-visible") !== null;
  }

  function arrive(bark) {
    if (typeof bark.content !== "string") return; // a kind of message that this page doesn't know
    const entry = mine.get(barkKey(bark));
    if (entry) { // it was typed here and is shown already: now it has been all the way round
      entry.delivered = true;
      Stream.showFate(entry);
    } else {
      stream.add({ bark, own: bark.user === client.user });
      announce(bark);
      if (document.hidden) showTitle(); // no frame will be drawn that could do it
    }
  }

  function missed(count) {
    stream.add({ note: `${count.toLocaleString()} older barks are no longer kept` });
  }

  function streamChanged() {
    const held = isReading() ? stream.held : 0;
    $("more").hidden = held === 0;
    if (held) $("more").textContent = held === 1 ? "1 new bark" : `${held.toLocaleString()} new barks`;
    const empty = !$("stream").firstChild && !$("unsent").firstChild;
    $("end").textContent = stream.cut ? `The latest ${MAX_SHOWN} barks are shown.`
      : empty && status.trouble() === "" ? "Nothing has been barked here yet." : "";
    showTitle();
  }

  function showTitle() {
    const unread = document.hidden || isReading() ? stream.held : 0;
    const count = unread > 99 ? "(99+) " : unread ? `(${unread}) ` : "";
    const title = `${count}${client.user} · Barker`;
    if (document.title !== title) document.title = title;
  }

  function showWaiting() {
    window.scrollTo(0, 0);
    stream.show();
    streamChanged();
  }

  // A summary for screen readers, gathered for a while so that it doesn't flood.
  const aloud = { count: 0, timer: null };

  function announce(bark) {
    aloud.count += 1;
    aloud.latest = bark;
    aloud.timer ??= setTimeout(() => {
      aloud.timer = null;
      const { count, latest } = aloud;
      aloud.count = 0;
      $("aloud").textContent = count === 1 ? `${latest.user} barks: ${latest.content}`
        : `${count} new barks, the latest by ${latest.user}`;
    }, ALOUD_EVERY_MS);
  }

  // --- Barks that go ---

  /** Take a bark over from the person: from now on it is ours to lose, until an outbox has it. */
  function say(bark) {
    const entry = { bark, own: true, fate: "sending", delivered: false };
    mine.set(barkKey(bark), entry);
    if (mine.size > REMEMBERED) mine.delete(mine.keys().next().value);
    if (bark.user === client.user) $("unsent").prepend(stream.item(entry));
    client.say(bark);
    remember();
  }

  function settled(bark) {
    if (bark.kind) return panel.settled(bark);
    const entry = mine.get(barkKey(bark));
    if (!entry) return;
    entry.fate = "sent";
    entry.item?.remove(); // from the list of unsent ones, if that is the one shown
    if (bark.user === client.user) stream.add(entry);
    remember();
  }

  function refused(bark, reason) {
    if (bark.kind) return panel.refused(bark, reason);
    const entry = mine.get(barkKey(bark));
    if (!entry) return;
    entry.fate = "refused";
    entry.reason = reason;
    Stream.showFate(entry);
    remember();
  }

  /** Everything of this user's that is not sent, newest on top, after a change of view. */
  function showUnsent() {
    const open = [...mine.values()].filter((e) => e.bark.user === client.user && e.fate !== "sent");
    $("unsent").replaceChildren(...open.reverse().map((entry) => stream.item(entry)));
  }

  function submit() {
    const text = $("text");
    // Half of a surrogate pair is no character, and the outbox would refuse it.
    const content = text.value.trim().replace(/\p{Surrogate}/gu, "\ufffd");
    if (!content || remaining() < 0 || !client.reader) return;
    if (client.unsent.length >= MAX_UNSENT) return; // the status says so; the text stays where it is
    text.value = "";
    showRemaining();
    say({ id: Link.randomHex(12), user: client.user, content, at: Date.now() });
    showWaiting(); // one wants to see what one has said
  }

  function discard(button) {
    const key = button.closest("li").dataset.key;
    const entry = mine.get(key);
    if (button.dataset.act === "edit") $("text").value = entry.bark.content;
    mine.delete(key);
    entry.item.remove();
    showRemaining();
    remember();
    $("text").focus();
  }

  const remaining = () => MAX_CHARACTERS - [...$("text").value.trim()].length;

  function showRemaining() {
    const left = remaining();
    $("left").textContent = left < 0 ? `${-left} too many` : left;
    const level = left < 0 ? "over" : left <= 20 ? "low" : "fine";
    if (level !== "fine" && level !== $("left").dataset.level) {
      // Not with every letter: screen readers are told once when it gets tight, and once when too much.
      $("aloud").textContent = left < 0 ? "The bark is too long" : `${left} characters left`;
    }
    $("left").dataset.level = level;
    $("text").setAttribute("aria-invalid", String(left < 0));
    $("send").disabled = left < 0 || left === MAX_CHARACTERS;
  }

  // --- Whose view it is ---

  function fillUsers() {
    const users = [...(Settings.current()?.users ?? [])];
    if (client.user && !users.includes(client.user)) users.unshift(client.user);
    $("user").replaceChildren(...users.map((user) => new Option(user)));
    $("user").value = client.user;
  }

  /** Show what the address says. */
  function showView() {
    if (client.user) remember();
    const user = Address.chosenUser();
    status.noSuchUser = "";
    client.view(user);
    panel.view(user);
    stream.clear(user);
    showUnsent();
    $("text").value = drafts.get(user) ?? "";
    showRemaining();
    fillUsers();
    Stream.paintFace($("face"), user);
    $("title").textContent = `${user}’s stream`;
    $("label").textContent = `Bark as ${user}`;
    window.scrollTo(0, 0);
    streamChanged();
    status.show();
  }

  /** Go to somebody's view, in such a way that the browser's Back leads here again. */
  function visit(user) {
    if (user === client.user) return showWaiting();
    try {
      history.pushState(null, "", Address.viewUrl(user));
    } catch { // not every browser lets a page from disk do that; then it has to be a reload
      return location.assign(Address.viewUrl(user));
    }
    showView();
  }

  // --- Events ---

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-user]");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && plain) { // with a key, the browser opens a new tab as for any link
      event.preventDefault();
      visit(link.dataset.user);
      $("title").focus({ preventScroll: true });
    }
    const button = event.target.closest("button[data-act]");
    if (button) discard(button);
  });

  $("user").addEventListener("change", () => visit($("user").value));
  window.addEventListener("popstate", showView);

  $("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("text").addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  $("text").addEventListener("input", () => { showRemaining(); remember(); });

  $("more").addEventListener("click", () => {
    showWaiting();
    $("title").focus({ preventScroll: true }); // the button goes away, and focus must be somewhere
  });
  $("retry").addEventListener("click", () => client.hurry());
  window.addEventListener("scroll", () => stream.soon(), { passive: true });
  $("stream").addEventListener("focusout", () => stream.soon());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    client.hurry();
    tick();
    stream.soon();
  });

  // --- Begin ---

  function tick() {
    if (!document.hidden) Stream.age(document.body);
    status.show();
  }

  const unsent = recall();
  showView();
  for (const body of unsent) body.kind ? client.say(body) : say(body);
  setInterval(tick, 1000);
  setInterval(() => { if (client.services[0].state !== "up") readSettingsAgain(); }, SETTINGS_EVERY_MS);

  // For a developer's console, and for tests.
  return {
    arrive,
    client,
    isReading,
    mine,
    panel,
    refused,
    remember,
    say,
    status,
    stream,
    submit,
    visit,
  };
})();
