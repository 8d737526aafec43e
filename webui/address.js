"use strict";
/* What the page's address holds: the user of the view, and a filter; and what its settings hold: the directory's address.
 *
 * With a directory in the page's address, a link could make the page prove its key to any service.
 *
 * Global: Address. Uses: Settings.
 */

const Address = (() => {
  const FIRST_USER = "ark3";

  const query = () => new URLSearchParams(location.search);

  /** The address of a user's view, of all barks or of some, with all else in it unchanged. */
  function viewUrl(user, { tag = "", own = false } = {}) {
    const other = query();
    other.set("user", user);
    for (const [key, value] of [["tag", tag], ["own", own ? "1" : ""]]) {
      other.delete(key);
      if (value) other.set(key, value);
    }
    return `?${other}`;
  }

  /** A tag is compared without regard to capital letters. */
  const chosenFilter = () => ({ tag: (query().get("tag") ?? "").toLowerCase(), own: query().has("own") });

  function chosenUser() {
    const users = Settings.current()?.users ?? [];
    return query().get("user") || (users.length && !users.includes(FIRST_USER) ? users[0] : FIRST_USER);
  }

  function directoryPlace() {
    const { host = "127.0.0.1", port = 5672 } = Settings.current() ?? {};
    return { host, port };
  }

  /** Make a user's view the address, so that the browser's Back leads here again. Returns false where the
   *  page is loaded again instead: not every browser lets one from disk change its address. */
  function go(user, filter) {
    const url = viewUrl(user, filter);
    try {
      history.pushState(null, "", url);
      return true;
    } catch {
      location.assign(url);
      return false;
    }
  }

  return { chosenFilter, chosenUser, directoryPlace, go, viewUrl };
})();
