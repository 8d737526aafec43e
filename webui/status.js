"use strict";

/* The status: what a person is told about the page's links, in a word, a sentence and four dots.
 *
 * Global: Status. Uses: Settings, Elements, Peers, Client.
 */

const Status = (() => {
  const { $, make, setText, showTrust } = Elements;
  const { MAX_UNSENT } = Client;

  // Trouble that is over sooner is told by the coloured dot alone.
  const WORDS_AFTER_MS = 1500;
  const STATES = { connected: "Connected", reconnecting: "Reconnecting", offline: "Offline" };

  const absent = ({ role, name, place, nobody }) => (place && !nobody
    ? `The ${role} ${name} does not answer.` : `No ${role} is running.`);

  function serviceItem(service) {
    const item = make("li", "", service.name, make("span", "aloud", `: ${service.state}`));
    item.dataset.state = service.state;
    item.title = [service.state, service.place, service.fault?.message].filter(Boolean).join(" · ");
    return item;
  }

  class Panel {
    constructor(client) {
      this.client = client;
      this.noSuchUser = ""; // the inbox's reason, if there is no such user
      this.everConnected = false;
      this.troubleSince = null;
      this.servicesShown = "";
    }

    /** What a person should know, in a sentence or two; nothing while all is well. */
    trouble() {
      const { client } = this;
      if (!Settings.current()) {
        return "The settings are missing: webui/barker_host.js, which “python launch.py” writes.";
      }
      if (!client.reader) return `“${client.user}” is no user name.`;
      if (this.noSuchUser) return `${this.noSuchUser}.`;
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

    overallState() {
      const { client } = this;
      if (this.trouble() === "") return "connected";
      const lasting = !Settings.current() || !client.reader || this.noSuchUser
        || client.services.some((service) => Peers.LASTING.has(service.fault?.code));
      return lasting || client.reader.status.state === "offline" ? "offline" : "reconnecting";
    }

    /** Called whenever a link changes, and once a second: "trying" becomes "offline" by waiting. */
    show() {
      const state = this.overallState();
      this.everConnected ||= state === "connected";
      document.documentElement.dataset.state = state;
      setText($("state"), state === "reconnecting" && !this.everConnected ? "Connecting" : STATES[state]);
      // What lasts only a moment needs no words: a quick restart should not make the page jump.
      const now = performance.now();
      this.troubleSince = state === "connected" ? null : this.troubleSince ?? now;
      const lasts = state === "offline" || now - (this.troubleSince ?? now) > WORDS_AFTER_MS;
      const words = lasts ? this.trouble() : "";
      setText($("trouble"), words);
      showTrust($("trust"), words && (this.client.services.find((s) => s.fault?.url)?.fault.url ?? ""));
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
