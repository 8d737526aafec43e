"use strict";
/* Following: the users that the user of the view follows, users this one might like, and joining.
 *
 *     Following    reads graph/USER from the followers service: the list, and again when it changes
 *     Panel        the boxes at the side, and every "Follow" button of the page
 *
 * A person's request goes to the outbox like a bark, as an event with a `kind`. The outbox's ack says that
 * it will be so; the list says that it is: every service that decides by the graph knows it. Until then the
 * button says "…". While a person points at the boxes or has the focus in them, rows neither come nor go;
 * only buttons change their words. The result of an act is read aloud at once, and written as soon as it
 * moves nothing that is pointed at.
 *
 * Global: Follow. Uses: Elements, Link, Peers, Outbox, Client, Memory, Times, Aloud, Stream.
 */

const Follow = (() => {
  const { $, make, makeButton, onSubmit, sentence, setText } = Elements;
  const { NAME_RULES, USER_NAME } = Client;
  const { MAX_UNSENT } = Outbox;

  // Names that are drawn; further ones are counted.
  const MAX_NAMES = 300;
  const MAX_SUGGESTED = 3;
  // After this long a person who has joined may have turned to something else: the page asks before it moves.
  const PATIENCE_MS = 5000;
  // A followers service decides about a name sooner than this; if not, the page shows what it waits for.
  const DECIDED_MS = 1000;

  /** Reads one user's list. `on`: changed(), list(body). */
  class Following extends Peers.Peer {
    up() {
      this.dialer.send({ op: "subscribe", address: this.address });
    }

    message(message) {
      if (message.op === "message") for (const body of message.bodies) this.on.list(body);
      else if (message.op === "unreadable" && Peers.LATER.has(message.code)) this.askAgain(Peers.LATER_MS);
    }
  }

  /** A field and its message. The message goes when the text changes.
   *  `held(told)`: must nothing below it move? */
  class Field {
    constructor(input, told, held) {
      Object.assign(this, { input, told, held });
      input.addEventListener("input", () => this.tell(""));
    }

    tell(text, invalid = false, ...more) {
      this.next = [text, ...more];
      if (text) Aloud.say(text);
      this.input.ariaInvalid = invalid ? "true" : null;
      this.show();
    }

    show() {
      if (!this.next || this.held(this.told)) return;
      this.told.replaceChildren(...this.next);
      this.next = null;
    }
  }

  class Panel {
    /** `on`: joined(user), when a person waits for it; known(), another name can be chosen; and of the
     *  stream, heldBelow(), may nothing in it move, and pointedBelow(), because it is pointed at or focused. */
    constructor(client, on) {
      this.client = client;
      this.on = on;
      this.zone = new Elements.Zone($("following"), () => this.soon());
      this.oneColumn = matchMedia("(max-width: 56.24em)"); // barker.css: then all this is above the stream
      const rows = new Elements.Zone($("follows").parentNode, () => this.soon());
      // Above the screen it would move what is on it.
      const below = (told) => this.oneColumn.matches && (on.pointedBelow() || told.getBoundingClientRect().top < 0);
      this.newcomer = new Field($("newcomer"), $("jointold"), (told) => this.zone.held || below(told));
      this.whom = new Field($("whom"), $("followtold"), (told) => rows.held || below(told));
      this.lastAt = 0;
      this.begin("");
      document.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-follow]");
        if (button) this.toggle(button.dataset.follow);
      });
      onSubmit($("follow"), () => this.submit());
      onSubmit($("join"), () => this.join());
    }

    begin(user) {
      this.user = user;
      this.list = null;
      this.follows = new Set();
      this.asked = new Map(); // whom -> the event that the followers service has not confirmed yet
      this.suggested = new Map(Memory.suggested(user)); // whom -> common, oldest first
    }

    view(user) {
      this.client.following?.close();
      this.client.following = null;
      this.begin(user);
      if (USER_NAME.test(user)) {
        this.client.following = new Following("graph", user, this.client.directory, {
          changed: this.client.on.changed,
          list: (body) => this.show(body),
        });
      }
      this.whom.tell("");
      this.drawLists();
    }

    show(body) {
      this.list = body;
      this.follows = new Set(body.follows);
      for (const [whom, { kind }] of this.asked) {
        if (this.follows.has(whom) !== (kind === "follow")) continue;
        this.asked.delete(whom);
        this.whom.tell(`You follow ${whom} ${kind === "follow" ? "now" : "no longer"}.`);
      }
      this.draw();
    }

    suggestion({ whom, common }) {
      if (typeof whom !== "string" || !USER_NAME.test(whom) || !Number.isInteger(common)) return;
      this.suggested.delete(whom); // the latest event about a user counts
      this.suggested.set(whom, common);
      if (this.suggested.size > 10 * MAX_SUGGESTED) this.suggested.delete(this.suggested.keys().next().value);
      Memory.keepSuggested(this.user, this.suggested);
      this.draw();
    }

    /** Was an event not confirmed for so long? */
    isLate(milliseconds) {
      return [...this.asked.values()].some(({ at }) => Times.now() - at > milliseconds);
    }

    // --- requests ---

    /** `at` rises with every event, since the last word about a user counts. */
    event(kind, user, more) {
      this.lastAt = Math.max(Times.now(), this.lastAt + 1);
      return { kind, id: Link.randomHex(12), user, at: this.lastAt, ...more };
    }

    /** Returns whether an event was sent. */
    toggle(whom) {
      const kind = this.follows.has(whom) ? "unfollow" : "follow";
      if (this.asked.has(whom) || this.client.unsent.length >= MAX_UNSENT) return false;
      const event = this.event(kind, this.user, { whom });
      this.asked.set(whom, event);
      this.whom.tell("");
      this.draw();
      this.client.say(event);
      return true;
    }

    submit() {
      const whom = $("whom").value.trim().replace(/^@/, "");
      if (!USER_NAME.test(whom)) return this.whom.tell(`“${whom}” is no user name. ${NAME_RULES}`, true);
      if (whom === this.user) return this.whom.tell("You read your own barks anyway.", true);
      if (this.follows.has(whom)) return this.whom.tell(`You follow ${whom} already.`, true);
      if (this.toggle(whom)) $("whom").value = "";
    }

    join() {
      const user = $("newcomer").value.trim();
      if (!USER_NAME.test(user)) return this.newcomer.tell(`“${user}” is no user name.`, true);
      this.newcomer.tell(`Asking for the name ${user}. A followers service has to answer.`);
      this.joining = { user, since: performance.now() };
      this.client.say(this.event("join", user));
    }

    // --- answers ---

    settled({ kind, user, whom }) {
      if (kind === "join") return this.joined(user);
      if (user !== this.user || !this.asked.has(whom)) return;
      const will = `You will follow ${whom}${kind === "follow" ? "" : " no longer"}.`;
      this.whom.tell(`${will} The outbox has it; a followers service has to confirm it.`);
    }

    /** Go there, if a person still waits for it; else only offer it. */
    joined(user) {
      Memory.keepJoined(user);
      const { joining } = this;
      const asked = joining?.user === user;
      const waits = asked && performance.now() - joining.since < PATIENCE_MS
        && $("join").contains(document.activeElement);
      if (asked && $("newcomer").value.trim() === user) $("newcomer").value = "";
      if (waits) {
        this.newcomer.tell("");
        $("join").closest("details").open = false;
        this.on.joined(user);
      } else {
        this.on.known(user);
        this.newcomer.tell(`${user} has joined. `, false, Stream.userLink("go", user, `Show ${user}’s stream`));
      }
    }

    /** No followers service has decided about the name yet. The page retries until one has. */
    waits({ user }, reason) {
      const { joining } = this;
      if (joining?.user !== user || joining.why === reason || performance.now() - joining.since < DECIDED_MS) return;
      joining.why = reason;
      this.newcomer.tell(`${sentence(reason)} It has to say whether ${user} is free.`);
    }

    refused({ kind, user, whom }, reason) {
      if (kind === "join") return this.newcomer.tell(sentence(reason), true);
      if (user !== this.user) return;
      this.asked.delete(whom);
      this.whom.tell(sentence(reason), $("whom").value !== "");
      this.draw();
    }

    // --- drawing ---

    get held() {
      return this.zone.held || (this.oneColumn.matches && this.on.heldBelow());
    }

    /** Buttons and counts at once; rows as soon as none of them is pointed at. */
    draw() {
      for (const button of document.querySelectorAll("button[data-follow]")) this.paint(button);
      if (this.list?.exists) {
        setText($("followcount"), `You follow ${this.list.following.toLocaleString()}`);
        const by = this.list.followed_by;
        setText($("followercount"), `${by.toLocaleString()} follow${by === 1 ? "s" : ""} you`);
      }
      for (const field of [this.newcomer, this.whom]) field.show();
      if (!this.held) this.drawLists();
    }

    soon() {
      this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
    }

    drawLists() {
      const { list } = this;
      const known = list !== null && list.exists;
      $("following").hidden = !known;
      const names = known ? list.follows.slice(0, MAX_NAMES) : [];
      const rest = known ? list.following - names.length : 0;
      this.fill($("follows"), names.map((name) => [name]), rest > 0 ? `and ${rest.toLocaleString()} more` : "");
      const open = [...this.suggested].sort((a, b) => b[1] - a[1])
        .filter(([whom]) => known && !this.follows.has(whom) && whom !== this.user)
        .slice(0, MAX_SUGGESTED);
      $("suggested").hidden = open.length === 0;
      this.fill($("suggestions"), open, "");
    }

    /** Make these rows the list's, unless it has them already. */
    fill(list, rows, rest) {
      const content = JSON.stringify([rows, rest]);
      if (list.dataset.content === content) return;
      list.dataset.content = content;
      const items = rows.map(([name, common]) => this.row(name, common));
      list.replaceChildren(...items, ...(rest ? [make("li", "rest", rest)] : []));
    }

    row(name, common) {
      const face = Stream.paintFace(make("span", "face small"), name);
      face.setAttribute("aria-hidden", "true");
      const words = make("span", "name", Stream.userLink("author", name, name),
        common === undefined ? undefined : make("span", "common", `followed by ${common} you follow`));
      return make("li", "person", face, words, this.button(name));
    }

    button(name) {
      const button = makeButton("follow");
      button.dataset.follow = name;
      return this.paint(button);
    }

    paint(button) {
      const whom = button.dataset.follow;
      const follows = this.follows.has(whom);
      const asked = this.asked.has(whom);
      const verb = follows ? "Unfollow" : "Follow";
      setText(button, asked ? `${verb} …` : verb);
      button.setAttribute("aria-label", `${verb} ${whom}`);
      button.setAttribute("aria-busy", String(asked));
      button.dataset.follows = String(follows);
      button.hidden = !this.list?.exists || whom === this.user;
      return button;
    }
  }

  return { Panel };
})();
