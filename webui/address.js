"use strict";

/* What the page's address says: whose view it is; and what its settings say: where the directory is.
 *
 * An address that named a directory would have the page prove its key to a service of anyone's choice.
 *
 * Global: Address. Uses: Settings.
 */

const Address = (() => {
  const FIRST_USER = "ark3";

  const query = () => new URLSearchParams(location.search);

  /** The address of a user's view, all else in it as it is now. */
  function viewUrl(user) {
    const other = query();
    other.set("user", user);
    return `?${other}`;
  }

  function chosenUser() {
    const users = Settings.current()?.users ?? [];
    return query().get("user") || (users.length && !users.includes(FIRST_USER) ? users[0] : FIRST_USER);
  }

  function directoryPlace() {
    const { host = "127.0.0.1", port = 5672 } = Settings.current() ?? {};
    return { host, port };
  }

  /** Make a user's view the address, in such a way that the browser's Back leads here again. Returns
   *  false where the page is loaded again instead: not every browser lets one from disk do that. */
  function go(user) {
    try {
      history.pushState(null, "", viewUrl(user));
      return true;
    } catch {
      location.assign(viewUrl(user));
      return false;
    }
  }

  return { chosenUser, directoryPlace, go, viewUrl };
})();
