// Asks the API, with a short patience: a page without data is better than no page.
const PATIENCE_MS = 1500;

/**
 * Return `{ info, items }`, or `{ down }` with the reason when the API does not answer sensibly.
 *
 * @param {string} url the API's own address, without a slash at the end
 * @param {typeof fetch} get
 */
export async function ask(url, get = fetch) {
  try {
    const [info, items] = await Promise.all([json(`${url}/info`, get), json(`${url}/items`, get)]);
    if (!Array.isArray(items)) throw new Error("the answer is no list of items");
    return { info, items };
  } catch (error) {
    const why = error.name === "TimeoutError" ? `no answer within ${PATIENCE_MS} ms` : error.message;
    return { down: error.cause?.code ?? why };
  }
}

async function json(url, get) {
  const answer = await get(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}
