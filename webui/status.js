"use strict";
/* The status: the state of the page's links, in a word, a sentence and a row of dots.
 *
 * It shows what the page knows: that a service does not answer, or that the directory knows none. The page
 * can't know whether a service is dead or frozen.
 *
 * Global: Status. Uses: Settings, Elements, Link, Peers, Outbox, Client, Aloud.
 */

const Status = (() => {
  const { $, make, sentence, setText, showTrust } = Elements;
  const { MAX_UNSENT } = Outbox;

  const STATES = {
    connected: "Connected", reconnecting: "Reconnecting", partly: "Partly connected", offline: "Offline",
  };
  const NAMES = { graph: "followers service" };
  const LABELS = { graph: "followers" };
  const DOTS = { up: "connected", trying: "trying", offline: "no answer", unknown: "unknown" };
  const REGISTERED = { ...DOTS, up: "registered", offline: "none is registered" };

  const KEPT = "What you bark is kept here and sent later.";
  const command = "“python launch.py” starts a system.";

  /** The words for a service to which there is no link. */
  function absent({ role, name, place, unserved }) {
    const what = NAMES[role] ?? role;
    if (!place) return unserved ? `The directory knows no ${what}.` : `The page does not know yet where the ${what} is.`;
    return `The ${what} ${name} does not answer${unserved ? ", and the directory knows no other" : ""}.`;
  }

  function serviceItem({ role, name, state, place, fault }) {
    const words = (role === "bizlogic" ? REGISTERED : DOTS)[state];
    const label = LABELS[name] ?? name;
    const item = make("li", "", make("span", "name", label), make("span", "aloud", `: ${words}`));
    item.dataset.state = state;
    item.title = [`${label}: ${words}`, place, fault?.message].filter(Boolean).join(" · ");
    return item;
  }

  class Panel {
    /** `isLate`: is a bark of this user late to come back? */
    constructor(client, isLate) {
      Object.assign(this, { client, isLate });
      this.noSuchUser = ""; // the inbox's reason, if there is no such user
      this.everConnected = false;
      this.troubleSince = null;
      this.servicesShown = "";
    }

    /** The sentences for a person; none while all is well. */
    trouble() {
      const { client } = this;
      if (!Settings.current()) {
        return "The settings are missing: webui/barker_host.js, which “python launch.py” writes.";
      }
      const { directory, inbox, outbox, graph, bizlogic } = this.services();
      const at = `directory at ${directory.place}`;
      const code = directory.fault?.code;
      if (code === "bad-proof") return `The ${at} has another key than webui/barker_host.js. Nothing is shown.`;
      if (code === "bad-version") return `The ${at} speaks another version of the protocol.`;
      if (code === "origin") return `This page is refused: ${sentence(directory.fault.message)}`;
      if (code === "refused") return `The ${at} refuses this page: ${sentence(directory.fault.message)}`;
      if (code === "settings") return `The ${at} can't be asked: ${sentence(directory.fault.message)}`;
      if (!client.reader) return `“${client.user}” is no user name. ${Client.NAME_RULES}`;
      if (directory.state !== "up" && inbox.state !== "up") {
        const kept = outbox.state === "up" ? "" : ` ${KEPT}`;
        if (inbox.place) return `Neither the ${at} nor the inbox ${inbox.name} answers. ${command}${kept}`;
        return `The ${at} does not answer, and it has to say where the inbox is. ${command}`;
      }
      if (this.noSuchUser) return `${sentence(this.noSuchUser)} You can join under this name, or choose another.`;
      const said = [];
      if (inbox.state !== "up") said.push(absent(inbox), "The stream goes on as soon as one answers.");
      if (client.reader.noRoom) {
        said.push(`The inbox ${inbox.name} has no room: ${sentence(client.reader.noRoom)} It is asked again.`);
      }
      const writer = client.writers.get(client.user);
      if (writer?.noRoom) said.push(`The outbox ${outbox.name} has no room: ${sentence(writer.noRoom)} It is asked again.`);
      const full = client.unsent.length >= MAX_UNSENT && `${MAX_UNSENT} barks wait to be sent: no more fit in.`;
      if (outbox.state !== "up") said.push(absent(outbox), full || KEPT);
      if (bizlogic.unserved) said.push("No bizlogic is registered: barks are taken, and not delivered before one is.");
      if (graph.state === "offline") said.push(absent(graph), "What you follow or unfollow waits for one.");
      for (const { name, waits } of this.isLate() ? [outbox, inbox, graph] : []) {
        if (waits) said.push(sentence(`${name}: ${waits}`));
      }
      return said.join(" ");
    }

    services() {
      return Object.fromEntries(this.client.services.map((service) => [service.role, service]));
    }

    /** Connected means that a person can read and bark, whether the directory is there or not. */
    overallState() {
      if (!Settings.current()) return "offline";
      const { directory, inbox, outbox, graph, bizlogic } = this.services();
      const needed = inbox ? [inbox, outbox, graph] : [directory];
      const up = needed.filter((service) => service.state === "up").length;
      if (up === needed.length) return bizlogic.unserved ? "partly" : "connected";
      if (up === 0 && Peers.LASTING.has(directory.fault?.code)) return "offline";
      if (needed.some((service) => service.state === "trying")) return "reconnecting";
      return up ? "partly" : "offline";
    }

    /** Called whenever a link changes, and once a second: "trying" becomes "offline" by waiting. */
    show() {
      if (this.isLate()) this.client.askWhy();
      const state = this.overallState();
      this.everConnected ||= state === "connected" || state === "partly";
      document.documentElement.dataset.state = state;
      setText($("state"), state === "reconnecting" && !this.everConnected ? "Connecting" : STATES[state]);
      // A fault of a moment needs no words.
      const now = performance.now();
      const trouble = this.trouble();
      this.troubleSince = trouble === "" ? null : this.troubleSince ?? now;
      const lasts = state === "offline" || state === "connected" || now - this.troubleSince > Link.WORDS_AFTER_MS;
      const words = lasts ? trouble : "";
      if (words && $("trouble").textContent !== words) Aloud.say(words);
      setText($("trouble"), words);
      showTrust($("trust"), words && (this.client.services.find((s) => s.fault?.url)?.fault.url ?? ""));
      const again = this.client.services.some((s) => ["trying", "offline"].includes(s.state) && s.role !== "bizlogic");
      $("retry").hidden = !again;
      $("banner").hidden = words === "";
      this.showServices();
    }

    showServices() {
      const { services } = this.client;
      const shown = JSON.stringify(services.map((s) => [s, s.fault?.message]));
      if (shown === this.servicesShown) return;
      this.servicesShown = shown;
      $("services").replaceChildren(...services.map(serviceItem));
    }
  }

  return { Panel };
})();
