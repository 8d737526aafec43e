"use strict";

/* The page: whose view it is, the box to bark into, and what a person is told about the links.
 *
 * Read link.js, client.js, stream.js and follow.js first, in this order; here they come together. What the page
 * keeps itself is little: drafts, one for each user, and barks that were typed and have not been
 * taken over yet. Both survive every reconnect, a change of view and even a reload.
 */

const MAX_CHARACTERS = 280; // code points, as everywhere in Barker
const FIRST_USER = "ark3";
// Scrolled down by this much, one is reading, and what is being read must not move.
const READING_PX = 8;
// A screen reader hears of new barks at most this often.
const ALOUD_EVERY_MS = 10_000;
// While nobody answers: look this often whether the launcher has written other settings.
const SETTINGS_EVERY_MS = 1000;
// Trouble that is over sooner is told by the coloured dot alone.
const WORDS_AFTER_MS = 1500;

const $ = (id) => document.getElementById(id);

// --- Settings and address ---

const address = () => new URLSearchParams(location.search);

/** The address of somebody's view, all else in it as it is now. */
function viewUrl(user) {
  const query = address();
  query.set("user", user);
  return `?${query}`;
}

function chosenUser() {
  const users = window.BARKER?.users ?? [];
  return address().get("user") ?? (users.length && !users.includes(FIRST_USER) ? users[0] : FIRST_USER);
}

/** Where the directory is: the settings say so, unless the address does (?host=H or ?host=H:P). */
function directoryPlace() {
  const { host = "127.0.0.1", port = 5672 } = window.BARKER ?? {};
  const wish = address().get("host");
  if (!wish) return { host, port };
  const [, name, number] = wish.match(/^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/) ?? [null, wish];
  return { host: name.replace(/^\[|\]$/g, ""), port: Number(number ?? port) };
}

const settingsNow = () => JSON.stringify([directoryPlace(), window.BARKER?.secret, window.BARKER?.tls]);
let settings = settingsNow();

/** Run the settings file once more: the system may have been started anew, elsewhere. */
function readSettingsAgain() {
  const script = document.createElement("script");
  script.src = `barker_host.js?${Date.now()}`; // else the browser remembers what was in it
  script.onload = () => {
    script.remove();
    if (settings === settingsNow()) return;
    settings = settingsNow();
    fillUsers();
    client.settle(directoryPlace(), window.BARKER);
  };
  script.onerror = () => script.remove();
  document.head.append(script);
}

// --- What is kept for a reload ---

const drafts = new Map(); // user -> text
// Under the directory's place, since what was typed for one system is not another's.
const storageKey = () => `barker ${JSON.stringify(directoryPlace())}`;

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

const stream = new Stream($("stream"), isReading, streamChanged);
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
    showFate(entry);
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
    : empty && trouble() === "" ? "Nothing has been barked here yet." : "";
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
  if (bark.user === client.user) $("unsent").prepend(makeItem(entry, client.user));
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
  showFate(entry);
  remember();
}

/** Everything of this user's that is not sent, newest on top, after a change of view. */
function showUnsent() {
  const open = [...mine.values()].filter((e) => e.bark.user === client.user && e.fate !== "sent");
  $("unsent").replaceChildren(...open.reverse().map((entry) => makeItem(entry, client.user)));
}

function submit() {
  const text = $("text");
  // Half of a surrogate pair is no character, and the outbox would refuse it.
  const content = text.value.trim().replace(/\p{Surrogate}/gu, "\ufffd");
  if (!content || remaining() < 0 || !client.reader) return;
  if (client.unsent.length >= MAX_UNSENT) return; // `trouble` says so; the text stays where it is
  text.value = "";
  showRemaining();
  say({ id: randomHex(12), user: client.user, content, at: Date.now() });
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

// --- How the links are ---

/** What a person should know, in a sentence or two; nothing while all is well. */
function trouble() {
  if (!window.BARKER) {
    return "The settings are missing: webui/barker_host.js, which “python launch.py” writes.";
  }
  if (!client.reader) return `“${client.user}” is no user name.`;
  if (noSuchUser) return `${noSuchUser}.`;
  const [directory, inbox, outbox] = client.services;
  const at = `The directory at ${directory.place}`;
  const code = directory.fault?.code;
  if (code === "bad-proof") return `${at} has another secret than webui/barker_host.js. Nothing is shown.`;
  if (code === "bad-version") return `${at} speaks another version of the protocol.`;
  if (code === "settings") return `${at} can't be asked: ${directory.fault.message}.`;
  if (inbox.state !== "up" && directory.state !== "up") {
    return `Nobody answers at ${directory.place}. Is the system running? “python launch.py” starts it.`;
  }
  if (client.unsent.length >= MAX_UNSENT) {
    return `${absent(outbox)} ${MAX_UNSENT} barks wait to be sent: no more fit in.`;
  }
  const kept = "What you bark is kept here and sent later.";
  if (inbox.state !== "up") {
    const both = outbox.state !== "up" ? ` ${kept}` : "";
    return `${absent(inbox)} The stream goes on as soon as one is there.${both}`;
  }
  if (outbox.state !== "up") return `${absent(outbox)} ${kept}`;
  return "";
}

const absent = ({ role, name, place, nobody }) => (place && !nobody
  ? `The ${role} ${name} does not answer.` : `No ${role} is running.`);

function overallState() {
  if (trouble() === "") return "connected";
  const lasting = !window.BARKER || !client.reader || noSuchUser
    || client.services.some((service) => LASTING.has(service.fault?.code));
  return lasting || client.reader.status.state === "offline" ? "offline" : "reconnecting";
}

const STATES = { connected: "Connected", reconnecting: "Reconnecting", offline: "Offline" };
let noSuchUser = "";
let everConnected = false;
let troubleSince = null;
let servicesShown = "";

/** Called whenever a link changes, and once a second: "trying" becomes "offline" by waiting. */
function showState() {
  const state = overallState();
  everConnected ||= state === "connected";
  document.documentElement.dataset.state = state;
  setText($("state"), state === "reconnecting" && !everConnected ? "Connecting" : STATES[state]);
  // What lasts only a moment needs no words: a quick restart should not make the page jump.
  const now = performance.now();
  troubleSince = state === "connected" ? null : troubleSince ?? now;
  const words = state === "offline" || now - (troubleSince ?? now) > WORDS_AFTER_MS ? trouble() : "";
  setText($("trouble"), words);
  showTrust($("trust"), words && (client.services.find((s) => s.fault?.url)?.fault.url ?? ""));
  $("banner").hidden = words === "";
  showServices();
}

function showServices() {
  const services = client.services;
  const shown = JSON.stringify(services.map((s) => [s, s.fault?.message]));
  if (shown === servicesShown) return;
  servicesShown = shown;
  $("services").replaceChildren(...services.map(serviceItem));
}

const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function serviceItem(service) {
  const item = make("li", "", service.name, make("span", "aloud", `: ${service.state}`));
  item.dataset.state = service.state;
  item.title = [service.state, service.place, service.fault?.message].filter(Boolean).join(" · ");
  return item;
}

function tick() {
  if (!document.hidden) age(document.body);
  showState();
}

// --- Whose view it is ---

const client = new Client(directoryPlace(), window.BARKER ?? {}, {
  changed: () => showState(),
  bark: arrive,
  suggestion: (body) => panel.suggestion(body),
  gap: missed,
  settled,
  refused,
  noSuchUser: (reason) => { noSuchUser = reason; showState(); },
});

const panel = new FollowPanel(client, {
  joined: (user) => { visit(user); $("text").focus(); },
});

function fillUsers() {
  const users = [...(window.BARKER?.users ?? [])];
  if (client.user && !users.includes(client.user)) users.unshift(client.user);
  $("user").replaceChildren(...users.map((user) => new Option(user)));
  $("user").value = client.user;
}

/** Show what the address says. */
function showView() {
  if (client.user) remember();
  const user = chosenUser();
  noSuchUser = "";
  client.view(user);
  panel.view(user);
  stream.clear(user);
  showUnsent();
  $("text").value = drafts.get(user) ?? "";
  showRemaining();
  fillUsers();
  paintFace($("face"), user);
  $("title").textContent = `${user}’s stream`;
  $("label").textContent = `Bark as ${user}`;
  window.scrollTo(0, 0);
  streamChanged();
  showState();
}

/** Go to somebody's view, in such a way that the browser's Back leads here again. */
function visit(user) {
  if (user === client.user) return showWaiting();
  try {
    history.pushState(null, "", viewUrl(user));
  } catch { // not every browser lets a page from disk do that; then it has to be a reload
    return location.assign(viewUrl(user));
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

const unsent = recall();
showView();
for (const body of unsent) body.kind ? client.say(body) : say(body);
setInterval(tick, 1000);
setInterval(() => { if (client.services[0].state !== "up") readSettingsAgain(); }, SETTINGS_EVERY_MS);
