// Compiles and instantiates the Worker's WebAssembly over and over, so that a clock outside can tell how long it takes:
// the runtime's own stands still while code runs.
import bytes from "index_bg.wasm";

const stubs = (module) => {
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    // Instantiating calls none of them.
    imports[from][name] = kind === "tag" ? WebAssembly.JSTag : () => {};
  }
  return imports;
};

export default {
  fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const times = Number(searchParams.get("times"));
    const module = env.UNSAFE.newWasmModule(bytes);
    const imports = stubs(module);
    const work = pathname === "/compile" ? () => env.UNSAFE.newWasmModule(bytes) : () => new WebAssembly.Instance(module, imports);
    for (let time = 0; time < times; time += 1) work();
    return new Response("");
  },
};
