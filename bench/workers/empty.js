// The floor of a request: an answer of nothing.
export default {
  fetch() {
    return new Response("");
  },
};
