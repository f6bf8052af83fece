/** Keeps pictures that were not sent yet beyond the page. What keeps texts is too small for them. */

const STORE = "pictures";
const LONGEST_MS = 30 * 24 * 3600 * 1000;
/** A browser that does not say whether it keeps anything is not waited for. */
const PATIENCE_MS = 20_000;

let opening = null;

/** Keeps these pictures, as messages hold them, under a name; an empty list forgets the name. */
export async function shelve(name, pictures) {
  const store = await shelf("readwrite");
  if (pictures.length) store?.put({ at: Date.now(), pictures }, name);
  else store?.delete(name);
}

/** What was kept under a name last. A browser that may not keep anything has nothing. */
export function shelved(name) {
  const read = shelf("readonly").then((store) => store && answer(store.get(name)));
  const patience = new Promise((done) => setTimeout(done, PATIENCE_MS));
  return Promise.race([read, patience]).then((found) => found?.pictures ?? [], () => []);
}

/** What is asked of it is done in the order in which it was asked. */
async function shelf(mode) {
  const mine = (opening ??= open());
  try {
    return (await mine)?.transaction(STORE, mode).objectStore(STORE);
  } catch {
    if (opening === mine) opening = null;
    return null; // closed under our hands, as when its data are cleared
  }
}

async function open() {
  try {
    const request = indexedDB.open("stepwire", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE).createIndex("at", "at");
    const database = await answer(request);
    database.onclose = () => (opening = null); // whoever asks next opens another
    sweep(database.transaction(STORE, "readwrite").objectStore(STORE));
    return database;
  } catch {
    return null; // forbidden
  }
}

/** Forgets what nobody came back for. */
function sweep(store) {
  const old = store.index("at").openKeyCursor(IDBKeyRange.upperBound(Date.now() - LONGEST_MS));
  old.onsuccess = () => {
    if (!old.result) return;
    store.delete(old.result.primaryKey);
    old.result.continue();
  };
}

function answer(request) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}
