/** @file Tenon's worker in a page: bench/browser.ts bundles it with the loop that asks for requests. */
import { setDevice } from 'tenon';
import { productServer } from './product.js';

const { device } = JSON.parse(decodeURIComponent(new URL(import.meta.url).search.slice(1))) as { device: string };
const answer = productServer();
let isChosen = false;

/** A device that doesn't start here answers with an error. */
export async function answerRequest(request: Readonly<Record<string, unknown>>): Promise<object> {
  try {
    if (!isChosen) setDevice(device);
    isChosen = true;
    return await answer(request);
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
