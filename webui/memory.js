"use strict";
/* Memory: the page's data in the browser's storage, for a reload or for the next time.
 *
 *     of this tab       drafts, barks and events that are not sent, refused barks, whether it is paused
 *     of this browser   names that joined here, and suggestions: the inbox keeps those for minutes only
 *
 * It lies under the directory's address, since text for one system is not another's. A browser may refuse
 * to keep anything; then a reload forgets, and nothing else is lost.
 *
 * Global: Memory. Uses: Client, Address.
 */

const Memory = (() => {
  const { USER_NAME } = Client;

  const MAX_JOINED = 50;
  // Users whose suggestions are kept; beyond it, those of the longest ago are forgotten.
  const MAX_SUGGESTED_TO = 20;

  const key = () => `barker ${JSON.stringify(Address.directoryPlace())}`;
  const isName = (name) => typeof name === "string" && USER_NAME.test(name);

  /** The stored value, if it has this page's shape: else the page has not written it. */
  function read(storage, empty) {
    try {
      const kept = JSON.parse(window[storage].getItem(key()));
      const same = Object.keys(empty).every((name) => Array.isArray(kept[name]) === Array.isArray(empty[name]));
      return same ? { ...empty, ...kept } : empty;
    } catch {
      return empty;
    }
  }

  function write(storage, kept) {
    try {
      window[storage].setItem(key(), JSON.stringify(kept));
    } catch { /* it is full, or switched off */ }
  }

  /** {drafts: [[user, text]], unsent: [body], refused: [[bark, reason]], paused} */
  const tab = () => read("sessionStorage", { drafts: [], unsent: [], refused: [], paused: false });
  const keepTab = (kept) => write("sessionStorage", kept);

  const browser = () => read("localStorage", { joined: [], suggested: [] });

  const joined = () => browser().joined.filter(isName);

  function keepJoined(user) {
    const kept = browser();
    kept.joined = [...kept.joined.filter((name) => name !== user), user].slice(-MAX_JOINED);
    write("localStorage", kept);
  }

  /** [[whom, common]]: the suggestions to a user, oldest first. */
  function suggested(user) {
    const [, found] = browser().suggested.filter(Array.isArray).find(([name]) => name === user) ?? [];
    return (Array.isArray(found) ? found : []).filter(Array.isArray)
      .filter(([whom, common]) => isName(whom) && Number.isInteger(common));
  }

  function keepSuggested(user, suggestions) {
    const kept = browser();
    const others = kept.suggested.filter(Array.isArray).filter(([name]) => name !== user);
    kept.suggested = [...others, [user, [...suggestions]]].slice(-MAX_SUGGESTED_TO);
    write("localStorage", kept);
  }

  return { joined, keepJoined, keepSuggested, keepTab, suggested, tab };
})();
