"use strict";

/* Settings: what a launcher has written for a page, in a script that sets window.BARKER.
 *
 * A page from disk can't read files. It can load scripts, and it can load one again: the system may
 * have been started anew, elsewhere or with another key. Both pages use this file.
 *
 * Global: Settings. Uses: nothing.
 */

const Settings = (() => {
  /** {host, port, key, tls, users}; undefined without the script. */
  const current = () => window.BARKER;

  /** Returns a function that runs the script once more, and then calls `changed` if what `summary`
   *  returns is not what it was before. */
  function reader(script, summary, changed) {
    const settingsNow = () => JSON.stringify(summary() ?? null);
    let settings = settingsNow();
    return () => {
      const element = document.createElement("script");
      element.src = `${script}?${Date.now()}`; // else the browser remembers what was in it
      element.onload = () => {
        element.remove();
        if (settings === settingsNow()) return;
        settings = settingsNow();
        changed();
      };
      element.onerror = () => element.remove();
      document.head.append(element);
    };
  }

  return { current, reader };
})();
