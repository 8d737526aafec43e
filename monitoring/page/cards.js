"use strict";
/* Cards: one service on the map: its state, its process, and a command that ends it.
 *
 * A card is made when its service appears, and then only its words change. So a screen reader can sit on
 * it while it counts, and buttons in it keep the focus.
 *
 * Global: Cards. Uses: Settings, Elements, Model, Words, Looks.
 */

const Cards = (() => {
  const { $, make, makeButton, makeOutside, setData, setText } = Elements;
  const { DRAWN } = Model;
  const { capital, countText, goneText, isKnown, lettersText, spanText, whichLetters } = Words;
  const { swatch } = Looks;

  // Of these, one works and the others wait for its end.
  const SPARES = ["bizlogic", "followers"];
  // The chapter of the book about each kind, below docs/.
  const CHAPTERS = {
    outbox: "09-the-manifold", bizlogic: "07-failover", inbox: "09-the-manifold", directory: "06-the-directory",
    followers: "17-followers", suggestions: "18-suggestions", monitor: "14-monitoring", controls: "19-security",
  };
  const COPIED_MS = 2000; // for so long a button shows that it has copied
  const isLoopback = (host) => /^(localhost|127\.[\d.]+|::1)$/i.test(host ?? "");
  const KILL = navigator.userAgent.includes("Windows") ? "taskkill /F /PID" : "kill -9";

  /** Does it run on this machine? It does if the page's own link to the monitor stays here, and the service
   *  registered a loopback address or the monitor's. */
  function isHere(row, frame) {
    const own = frame.services.find(({ kind }) => kind === "monitor");
    return isLoopback(Settings.current()?.host ?? "localhost") && (isLoopback(row.host) || row.host === own?.host);
  }

  class Card {
    /** `extras` may make one more element for the end of the card. */
    constructor(row, extras) {
      this.badge = make("span", "badge");
      this.words = make("p", "note");
      this.pid = make("p", "note");
      this.kill = makeButton("kill");
      this.kill.title = "Copy this command";
      this.kill.addEventListener("click", () => this.copy());
      this.depth = make("span", "depth");
      this.depth.title = "barks waiting";
      this.waits = make("p", "waits");
      this.letters = make("p", "letters");
      const sign = DRAWN.includes(row.kind) ? swatch(row.name, false) : make("span", "dot");
      const who = make("div", "who", make("p", "", make("b", "", row.name), this.badge), this.words);
      const process = make("div", "process", this.pid, make("p", "", this.kill, DRAWN.includes(row.kind) ? undefined : chapterLink(row)));
      const extra = extras?.(row) ?? undefined;
      this.item = make("li", "service", make("div", "face", sign, who, process, this.depth, this.waits, this.letters, extra));
      this.item.dataset.service = row.name;
    }

    show(row, frame) {
      const { item } = this;
      const route = frame.routes[row.kind] ?? {};
      const first = SPARES.includes(row.kind) && route.first === row.name;
      setData(item, "up", String(row.up));
      setData(item, "first", String(first));
      setData(item, "how", row.how ?? "");
      setText(this.badge, first ? "first" : "");
      setText(this.words, wordsOf(row, route, first));
      setData(item, "waits", String("waits" in row));
      setText(this.waits, row.waits ? capital(row.waits) : "");
      this.waits.title = row.waits ?? "";
      const letters = row.dead_letters > 0;
      setData(item, "letters", String(letters));
      setText(this.letters, letters ? lettersText(row.dead_letters) + whichLetters(row.name, row.dead_letter) : "");
      setText(this.depth, row.up && row.kind === "outbox" && isKnown(row.backlog) ? countText(row.backlog) : "");
      this.showProcess(row, frame);
    }

    showProcess(row, frame) {
      const here = isHere(row, frame), known = row.up && isKnown(row.pid);
      const where = here ? "" : ` on ${row.host}`;
      setText(this.pid, known ? `pid ${row.pid}${where}, up ${spanText(frame.at - row.since)}` : "");
      this.kill.hidden = !known || !here;
      this.command = `${KILL} ${row.pid}`;
      if (!this.shows) setText(this.kill, this.command);
    }

    /** Copy the command. Where a page may not, show it selected for the reader's own copying. */
    async copy() {
      const { command, kill } = this;
      try {
        await navigator.clipboard.writeText(command);
      } catch {
        this.select(command);
        return;
      }
      setText($("copied"), `${command}: copied`);
      setText(kill, "copied");
      clearTimeout(this.shows);
      this.shows = setTimeout(() => {
        this.shows = null;
        setText(kill, this.command);
        setText($("copied"), "");
      }, COPIED_MS);
    }

    /** In a field, since the text of a button can't be selected; it goes when it loses the focus. */
    select(command) {
      const field = make("input", "kill");
      Object.assign(field, { value: command, readOnly: true, ariaLabel: "The command, selected: press Ctrl+C" });
      field.addEventListener("blur", () => field.remove());
      this.kill.before(field);
      field.select();
    }
  }

  function wordsOf(row, route, first) {
    if (!row.up) return goneText(row);
    const share = route.shares?.[row.name];
    if (share !== undefined) return `${(100 * share).toFixed(1)} % of the ring`;
    if (route.policy === "ordered" && SPARES.includes(row.kind)) return first ? "has the traffic" : "ready to take over";
    return `${row.host}:${row.port}`;
  }

  /** To the chapter about a service, or about those of a group. */
  function chapterLink({ kind, name }) {
    const chapter = CHAPTERS[kind];
    if (!chapter) return undefined;
    const link = makeOutside("chapter", `../docs/${chapter}.rst`, `chapter ${parseInt(chapter, 10)}`);
    const title = `${link.textContent} of the book, about ${name}`;
    return Object.assign(link, { title, ariaLabel: title });
  }

  return { CHAPTERS, Card, chapterLink, isLoopback };
})();
