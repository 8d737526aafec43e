"use strict";

/* Following: whom the user of the view follows, whom this user might like, and joining.
 *
 *     Following    reads graph/USER from the followers service: the list, and again when it changes
 *     Panel        the boxes at the side, and every "Follow" button of the page
 *
 * What a person asks for goes to the outbox like a bark, as an event with a `kind`. The outbox's ack
 * says that it will be so; the list says that it is: everybody who decides by the graph knows it.
 * Until then the button says "…", and if nobody answers, that is how it stays.
 *
 * Global: Follow. Uses: Elements, Link, Peers, Client, Stream.
 */

const Follow = (() => {
  const { $, make, setText } = Elements;
  const { MAX_UNSENT, USER_NAME } = Client;

  // Names that are drawn; the rest is counted.
  const MAX_NAMES = 300;
  const MAX_SUGGESTED = 3;

  const NAME_RULES = "A name is 1 to 20 of a–z, 0–9 and _, and begins with a letter.";

  const sentence = (reason) => `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}.`;

  /** Reads one user's list. `on`: changed(), list(body). */
  class Following extends Peers.Peer {
    constructor(user, directory, on) {
      super("graph", user, directory, on.changed);
      this.on = on;
    }

    up() {
      this.dialer.send({ op: "subscribe", address: this.address });
    }

    message(message) {
      if (message.op === "message") for (const body of message.bodies) this.on.list(body);
    }
  }

  class Panel {
    constructor(client, on) {
      this.client = client;
      this.on = on; // joined(user)
      this.lastAt = 0;
      this.begin("");
      document.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-follow]");
        if (button) this.toggle(button.dataset.follow);
      });
      $("follow").addEventListener("submit", (event) => {
        event.preventDefault();
        this.submit();
      });
      $("join").addEventListener("submit", (event) => {
        event.preventDefault();
        this.join();
      });
    }

    begin(user) {
      this.user = user;
      this.list = null;
      this.follows = new Set();
      this.asked = new Map(); // whom -> the event that nobody has confirmed yet
      this.suggested = new Map(); // whom -> how many of those whom we follow do so, oldest first
    }

    /** Show another user's. */
    view(user) {
      this.client.following?.close();
      this.client.following = null;
      this.begin(user);
      if (USER_NAME.test(user)) {
        this.client.following = new Following(user, this.client.directory, {
          changed: this.client.on.changed,
          list: (body) => this.show(body),
        });
      }
      this.tell("");
      this.draw();
    }

    show(body) {
      this.list = body;
      this.follows = new Set(body.follows);
      for (const [whom, { kind }] of this.asked) {
        if (this.follows.has(whom) === (kind === "follow")) this.asked.delete(whom);
      }
      this.draw();
    }

    suggestion({ whom, common }) {
      if (typeof whom !== "string" || !USER_NAME.test(whom) || !Number.isInteger(common)) return;
      this.suggested.delete(whom); // the latest word about somebody is the one that counts
      this.suggested.set(whom, common);
      if (this.suggested.size > 10 * MAX_SUGGESTED) {
        this.suggested.delete(this.suggested.keys().next().value);
      }
      this.draw();
    }

    // --- asking ---

    /** `at` rises with every event, since the last word about somebody counts. */
    event(kind, user, more) {
      this.lastAt = Math.max(Date.now(), this.lastAt + 1);
      return { kind, id: Link.randomHex(12), user, at: this.lastAt, ...more };
    }

    toggle(whom) {
      const kind = this.follows.has(whom) ? "unfollow" : "follow";
      if (this.asked.has(whom) || this.client.unsent.length >= MAX_UNSENT) return;
      const event = this.event(kind, this.user, { whom });
      this.asked.set(whom, event);
      this.tell("");
      this.draw();
      this.client.say(event);
    }

    submit() {
      const whom = $("whom").value.trim().replace(/^@/, "");
      if (!USER_NAME.test(whom)) return this.tell(`“${whom}” is no user name. ${NAME_RULES}`);
      if (whom === this.user) return this.tell("You read your own barks anyway.");
      if (this.follows.has(whom)) return this.tell(`You follow ${whom} already.`);
      $("whom").value = "";
      this.toggle(whom);
    }

    join() {
      const user = $("newcomer").value.trim();
      if (!USER_NAME.test(user)) return this.tellJoin(`“${user}” is no user name.`, true);
      this.tellJoin(`Asking for the name ${user} …`);
      this.client.say(this.event("join", user));
    }

    // --- what becomes of it ---

    settled({ kind, user, whom }) {
      if (kind === "join") {
        this.tellJoin("");
        $("newcomer").value = "";
        $("join").closest("details").open = false;
        this.on.joined(user);
      } else if (user === this.user) {
        this.tell(kind === "follow" ? `You follow ${whom} now.` : `You follow ${whom} no longer.`);
      }
    }

    refused({ kind, user, whom }, reason) {
      if (kind === "join") return this.tellJoin(sentence(reason), true);
      if (user !== this.user) return;
      this.asked.delete(whom);
      this.tell(sentence(reason));
      this.draw();
    }

    tell(text) {
      setText($("followtold"), text);
    }

    tellJoin(text, invalid = false) {
      setText($("jointold"), text);
      $("newcomer").setAttribute("aria-invalid", String(invalid));
    }

    // --- drawing ---

    draw() {
      const list = this.list;
      const known = list !== null && list.exists;
      $("following").hidden = !known;
      if (known) {
        setText($("followcount"), `You follow ${list.following.toLocaleString()}`);
        setText($("followercount"), `${list.followed_by.toLocaleString()} follow${list.followed_by === 1 ? "s" : ""} you`);
        const names = list.follows.slice(0, MAX_NAMES);
        const rest = list.following - names.length;
        this.fill($("follows"), names.map((name) => this.row(name)),
          rest > 0 ? make("li", "rest", `and ${rest.toLocaleString()} more`) : undefined);
      }
      const open = [...this.suggested].sort((a, b) => b[1] - a[1])
        .filter(([whom]) => known && !this.follows.has(whom) && whom !== this.user)
        .slice(0, MAX_SUGGESTED);
      $("suggested").hidden = open.length === 0;
      this.fill($("suggestions"), open.map(([whom, common]) => this.row(whom, common)));
      for (const button of document.querySelectorAll("button[data-follow]")) this.paint(button);
    }

    /** Put rows into a list without taking the focus away from the button that has it. */
    fill(list, rows, last) {
      const focused = list.contains(document.activeElement) ? document.activeElement.dataset.follow : null;
      list.replaceChildren(...rows, ...(last ? [last] : []));
      if (!focused) return;
      const again = list.querySelector(`button[data-follow="${focused}"]`) ?? list.querySelector("button");
      (again ?? $("whom")).focus({ preventScroll: true });
    }

    row(name, common) {
      const face = Stream.paintFace(make("span", "face small"), name);
      face.setAttribute("aria-hidden", "true");
      const words = make("span", "name", Stream.userLink("author", name, name),
        common === undefined ? undefined : make("span", "common", `${common} you follow do`));
      return make("li", "person", face, words, this.button(name));
    }

    button(name) {
      const button = make("button", "follow");
      button.type = "button";
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
