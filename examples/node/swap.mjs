// The graphs alone, without trtswap, in any ONNX runtime; here onnxruntime-node:
//   node swap.mjs GRAPHS face.rgb frame.rgb out.rgb
// Both are raw RGB frames of the size that the graphs take.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ort from "onnxruntime-node";

const [folder, face, frame, out] = process.argv.slice(2);
const about = JSON.parse(readFileSync(join(folder, "embed.json"), "utf8"));
const [width, height] = about.frames.size;
const graph = async (name) => ort.InferenceSession.create(join(folder, about.graphs[name].file));
const pixels = (file) => new ort.Tensor("uint8", readFileSync(file), [1, height, width, 3]);
const wanted = (session, tensors) => session.run(Object.fromEntries(session.inputNames.map((n) => [n, tensors[n]])));

const [find, identify, swap] = await Promise.all(["find", "identify", "swap"].map(graph));
const source = { frames: pixels(face) };
const who = await wanted(identify, { ...source, ...(await wanted(find, source)) });
const target = { frames: pixels(frame) };
const found = await wanted(find, target);

const slots = about.faces;
const identity = who[about.source.tensor].data.slice(0, about.source.length); // of the first slot
const everybody = new Float32Array(slots * identity.length);
for (let slot = 0; slot < slots; ++slot) everybody.set(identity, slot * identity.length);
const strengths = found.scores.data.map((score) => (score > 0 ? 1 : 0));
const side = Math.max(64, ...found.sides.data);
const made = await wanted(swap, {
  ...target,
  ...found,
  [about.source.tensor]: new ort.Tensor("float32", everybody, [1, slots, identity.length]),
  strengths: new ort.Tensor("float32", strengths, [1, slots]),
  window: new ort.Tensor("float32", new Float32Array(side), [side]),
});
writeFileSync(out, made.swapped_frames.data);
console.log(`${strengths.filter((s) => s).length} faces`);
