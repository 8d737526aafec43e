"use strict";
/* The page: the user of the view, the box to bark into, and the fate of barks that are typed here.
 *
 * The other files come together here. The page keeps drafts, one for each user, and typed barks that no
 * outbox has acked. Both survive every reconnect, a change of view and even a reload.
 *
 * Global: Barker. Uses: Settings, Elements, Link, Inbox, Outbox, Client, Address, Memory, Times, Aloud, Stream, Filter, Way, Box, Follow, Keepers, Status.
 */

const Barker = (() => {
  const { $, sentence, setText } = Elements;
  const { REMEMBERED, barkKey } = Inbox;
  const { MAX_UNSENT } = Outbox;
  const { MAX_SHOWN } = Stream;

  // Scrolled down by this much, a person reads, and the text under their eyes must not move.
  const READING_PX = 8;
  // While the directory does not answer: how often to look for new settings of a launcher.
  const SETTINGS_EVERY_MS = 1000;
  // Our own bark takes long if it has not arrived by then.
  const LATE_MS = 3000;
  // Views that Back leads to as they were; older ones begin anew.
  const KEPT_VIEWS = 5;

  // --- The parts of the page ---

  const client = new Client.PageClient(Address.directoryPlace(), Settings.current() ?? {}, {
    changed: () => { status.show(); showEnd(); ways.draw(); keepers.soon(); },
    moved: (...move) => keepers.moved(...move),
    bark: arrive,
    caughtUp: () => showEnd(),
    suggestion: (body) => panel.suggestion(body),
    gap: missed,
    settled,
    refused,
    waits: (join, reason) => panel.waits(join, reason),
    noSuchUser: (reason) => { status.noSuchUser = reason; status.show(); },
  });
  const status = new Status.Panel(client, isLate);
  const zone = new Elements.Zone($("main"), () => stream.soon());
  const panel = new Follow.Panel(client, {
    joined: (user) => { visit(user); $("text").focus(); },
    known: () => fillUsers(),
    heldBelow: isHeld,
    pointedBelow: () => zone.held,
  });
  const box = new Box.Compose({ changed: remember, send });
  const ways = new Way.Ways(client, isHeld);
  const keepers = new Keepers.Panel(client, { users: knownUsers, held: () => panel.oneColumn.matches && isHeld() });
  const stream = new Stream.List($("stream"), {
    held: isHeld,
    changed: streamChanged,
    matches: Filter.matches,
    followButton: (user) => panel.button(user),
  });

  const readSettingsAgain = Settings.reader(
    "barker_host.js",
    () => [Address.directoryPlace(), Settings.current()?.key, Settings.current()?.tls],
    () => {
      fillUsers();
      client.settle(Address.directoryPlace(), Settings.current());
      keepers.open();
    },
  );

  // --- Kept for a reload ---

  const drafts = new Map(); // user -> text
  let paused = false;

  function remember() {
    drafts.set(client.user, box.text);
    const refused = [...mine.values()].filter((entry) => entry.fate === "refused");
    Memory.keepTab({
      drafts: [...drafts],
      unsent: client.unsent,
      refused: refused.map(({ bark, reason }) => [bark, reason]),
      paused,
    });
  }

  // --- Incoming barks ---

  // Barks typed here, by key, as entries of the list: their fate is shown until they are forgotten.
  const mine = new Map();
  let listed = new Set(); // entries of `mine` that are in the list that is shown, or wait for it

  function isStill() {
    return window.scrollY > READING_PX || zone.held;
  }

  function isHeld() {
    return paused || isStill();
  }

  function arrive(bark, isPast) {
    if (typeof bark.content !== "string") return; // a kind that this page doesn't know
    const entry = mine.get(barkKey(bark));
    if (entry) entry.delivered = true; // it was typed here, and came back through the inbox
    if (entry) ways.back(entry, isPast);
    if (entry && (listed.has(entry) || entry.fate !== "sent")) return Stream.showFate(entry);
    if (entry) listed.add(entry);
    const own = bark.user === client.user;
    if (!own) Times.learn(bark.user, bark.at);
    stream.add(entry ?? { bark, own });
    if (!isPast && !paused && !own && Filter.matches({ bark, own })) Aloud.bark(bark);
    if (document.hidden) showTitle(); // no frame is drawn that would do it
  }

  function missed(count) {
    stream.add({ note: `${count.toLocaleString()} older barks are no longer kept` });
  }

  function streamChanged() {
    for (const item of isStill() ? [] : $("unsent").children) Stream.showWhy(mine.get(item.dataset.key));
    const waiting = isHeld() ? stream.waiting : 0;
    if (waiting === 0 && document.activeElement === $("more")) $("title").focus({ preventScroll: true });
    $("more").disabled = waiting === 0;
    setText($("more"), waiting === 0 ? "No new barks" : waiting === 1 ? "1 new bark" : `${waiting.toLocaleString()} new barks`);
    showEnd();
    showTitle();
  }

  function showEnd() {
    const empty = !$("stream").firstChild && !$("unsent").firstChild;
    const known = client.reader?.caughtUp && !status.noSuchUser;
    setText($("end"), Filter.isOn() ? Filter.end([...$("stream").children]) : stream.cut ? `The latest ${MAX_SHOWN} barks are shown.`
      : !empty ? "The end of the list." : known ? "No barks yet. Barks of those whom you follow, and your own, appear here." : "");
  }

  function showTitle() {
    const unread = document.hidden || isHeld() ? stream.waiting : 0;
    const count = unread > 99 ? "(99+) " : unread ? `(${unread}) ` : "";
    const title = `${count}${Filter.isOn() ? Filter.title(client.user) : client.user} · Barker`;
    if (document.title !== title) document.title = title;
  }

  function showWaiting() {
    window.scrollTo(0, 0);
    stream.show();
    streamChanged();
  }

  function pause(on) {
    paused = on;
    $("pause").setAttribute("aria-pressed", String(on));
    if (on) Aloud.hush();
    stream.soon();
    remember();
  }

  // --- Outgoing barks ---

  /** Take a bark over from the person: from now on the page must not lose it, until an outbox has it. */
  function say(bark) {
    show({ bark, own: true, fate: "sending", delivered: false, since: performance.now() });
    client.say(bark);
    remember();
  }

  function show(entry) {
    const { bark } = entry;
    mine.set(barkKey(bark), entry);
    if (entry.fate === "sending") ways.follow(entry);
    if (mine.size > REMEMBERED) mine.delete(mine.keys().next().value);
    if (bark.user !== client.user) return;
    $("unsent").prepend(stream.item(entry));
    Stream.fold([entry.item]);
  }

  /** The outbox has it. It joins the stream with the next barks, and stays where it is till then. */
  function settled(bark) {
    if (bark.kind) { panel.settled(bark); return remember(); }
    const entry = mine.get(barkKey(bark));
    if (!entry) return;
    entry.fate = "sent";
    ways.acked(entry);
    if (bark.user === client.user) {
      Stream.showFate(entry);
      listed.add(entry);
      stream.add(entry);
      Aloud.say("Sent");
    }
    remember();
  }

  function refused(bark, reason) {
    if (bark.kind) { panel.refused(bark, reason); return remember(); }
    const entry = mine.get(barkKey(bark));
    if (!entry) return;
    entry.fate = "refused";
    entry.reason = reason;
    ways.refused(entry);
    Stream.showFate(entry);
    stream.soon();
    if (bark.user === client.user) Aloud.say(`Not sent: ${sentence(reason)}`);
    remember();
  }

  /** Show all unsent barks of this user, newest on top, after a change of view. */
  function showUnsent() {
    const open = [...mine.values()].filter((e) => e.bark.user === client.user && e.fate !== "sent");
    $("unsent").replaceChildren(...open.reverse().map((entry) => stream.item(entry)));
    Stream.fold([...$("unsent").children]);
  }

  /** Called by the box. If too many wait already, the text stays in it; the status says so. */
  function send(content) {
    if (client.unsent.length >= MAX_UNSENT) return false;
    const bark = { id: Link.randomHex(12), user: client.user, content, at: Times.now() };
    if (!Filter.matches({ bark, own: true })) visit(client.user);
    say(bark);
    showWaiting(); // a person wants to see their own bark
    return true;
  }

  function isLate() {
    const isWaiting = (entry) => entry.bark.user === client.user && entry.fate !== "refused" && !entry.delivered;
    return panel.isLate(LATE_MS) || [...mine.values()].some((entry) => (
      isWaiting(entry) && performance.now() - entry.since > LATE_MS));
  }

  /** Drop a refused bark; with `edit` its text goes back into the box. */
  function discard(entry, edit) {
    mine.delete(barkKey(entry.bark));
    $("text").focus();
    entry.item.remove();
    if (edit) box.insert(entry.bark.content);
    stream.soon();
    remember();
  }

  // --- The view ---

  function knownUsers() {
    const named = [...(Settings.current()?.users ?? []), ...Memory.joined()];
    return [...new Set(client.user ? [...named, client.user] : named)];
  }

  function fillUsers() {
    const users = knownUsers();
    if (users.join() === [...$("user").options].map((option) => option.value).join()) return;
    const chosen = $("user").value || client.user;
    $("user").replaceChildren(...users.map((user) => new Option(user)));
    $("user").value = chosen;
  }

  // The views for Back: user -> the list, the reader's place, the scroll position, the focus.
  const views = new Map();

  function keepView() {
    if (!client.user) return;
    remember();
    views.delete(client.user);
    if (!client.reader?.caughtUp) return;
    views.set(client.user, {
      content: stream.content, listed, place: client.reader.place, y: window.scrollY, focused: document.activeElement,
    });
    if (views.size > KEPT_VIEWS) views.delete(views.keys().next().value);
  }

  const heights = new Map(); // the title of a view of some or all barks -> where it was scrolled to

  function showFilter() {
    Filter.read(client.user);
    setText($("title"), Filter.title(client.user));
    stream.refilter();
  }

  /** Show the view of the page's address; with `again`, as it was when it was left. */
  function showView(again = false) {
    heights.set($("title").textContent, window.scrollY);
    const user = Address.chosenUser();
    if (user === client.user) {
      showFilter();
      return window.scrollTo(0, (again && heights.get($("title").textContent)) || 0);
    }
    keepView();
    const view = again ? views.get(user) : undefined;
    status.noSuchUser = "";
    stream.clear(user);
    listed = view?.listed ?? new Set();
    client.view(user, view?.place);
    panel.view(user);
    if (view) stream.restore(view.content);
    for (const entry of view ? mine.values() : []) { // barks that were acked only after the view was left
      if (entry.bark.user === user && entry.delivered && entry.fate === "sent" && !listed.has(entry)) {
        listed.add(entry);
        stream.add(entry);
      }
    }
    showUnsent();
    box.begin(user, client.reader !== null, drafts.get(user) ?? "");
    fillUsers();
    $("user").value = user;
    Stream.paintFace($("face"), user);
    showFilter();
    keepers.view();
    window.scrollTo(0, view?.y ?? 0);
    if (view?.focused?.isConnected) view.focused.focus({ preventScroll: true });
    streamChanged();
    status.show();
  }

  function visit(user, { tag, own } = {}) {
    if (user === client.user && Filter.is({ tag, own })) return showWaiting();
    if (Address.go(user, { tag, own })) showView();
  }

  // --- Events ---

  const acts = {
    edit: (entry) => discard(entry, true),
    discard: (entry) => discard(entry, false),
    unfold: (_, button) => Stream.unfold(button),
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-user]");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && plain) { // with a key, the browser opens a new tab as for any link
      event.preventDefault();
      visit(link.dataset.user, link.dataset);
      $("title").focus({ preventScroll: true });
    }
    const skip = event.target.closest("a[data-skip]");
    if (skip) { // not by its address: that is the view's
      event.preventDefault();
      $(skip.dataset.skip).focus();
    }
    const button = event.target.closest("button[data-act]");
    if (button) acts[button.dataset.act](mine.get(button.closest("li").dataset.key), button);
  });

  Elements.onSubmit($("switch"), () => visit($("user").value));
  history.scrollRestoration = "manual"; // showView knows when the list is there
  window.addEventListener("popstate", () => showView(true));

  $("more").addEventListener("click", () => {
    showWaiting();
    $("title").focus({ preventScroll: true }); // the button goes away, and focus must be somewhere
  });
  $("pause").addEventListener("click", () => pause(!paused));
  $("retry").addEventListener("click", () => client.hurry());
  window.addEventListener("scroll", () => { stream.soon(); panel.soon(); }, { passive: true });
  window.addEventListener("resize", () => Stream.fold(document.querySelectorAll(".bark"))); // now perhaps too high
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    client.hurry();
    tick();
    stream.soon();
  });

  // --- Begin ---

  function tick() {
    if (!document.hidden) Times.age(document.body);
    status.show();
    ways.tick();
    keepers.tick();
  }

  const kept = Memory.tab();
  for (const [user, text] of kept.drafts) drafts.set(user, text);
  showView();
  for (const [bark, reason] of kept.refused) {
    show({ bark, own: true, fate: "refused", reason, delivered: false });
  }
  for (const body of kept.unsent) body.kind ? client.say(body) : say(body);
  pause(kept.paused === true);
  setInterval(tick, 1000);
  setInterval(() => { if (client.services[0].state !== "up") readSettingsAgain(); }, SETTINGS_EVERY_MS);

  // For a developer's console, and for tests.
  const submit = () => box.submit();
  return { arrive, client, isHeld, keepers, mine, panel, refused, remember, say, stream, submit, visit, ways };
})();
