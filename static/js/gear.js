// Made by `python -m files.web.gear`; a test compares the two. The low 48 bits of
// FastCDC's gear table, in two halves: for byte value n the start of the MD5 of 64 times n.

const bytes = Uint8Array.from(atob(
  "PH0gfjfcaLqREjCGiA+ILnKYjk4Z/cynOF370WMrJwAeJavmC948mtmRJWdum3ZJmyngjrSZy9IeV31YuqraKs9rLVrHPCIm8k1u0xK34DaFHXx+" +
  "/l4AE9gbYwRFLOwURjJkjiSPzz3Nkrm0EuY8GHhW+dOCHAC2czh1D2+KPcbBywtvRbaXQ6fxD+5ASAfrPP4HuDpdJ4mK25oP9ekbqmK+uGaBX32Y" +
  "Z8QeqdzT+mVEK/IsDaTFVjHZ6cvGVFyZEH7GTpKlIfxlaWokbAZIIvC36EHzUl4BvJyFl0/1NS+s6ePp0dzrNemOg7rcEWgPjBfpzxLxPF4upWRx" +
  "XP0k45KpxOUEy4kVsV/J/nRRH9GUXyGV4IU0Q+/Y/Jhj4eLStgCNVkLPSGMlesgExCp4mifT35znevVlnNU9h/674tP5Pbcvj/uqH/nWfz8lr3lo" +
  "VIbZDQpKC5Zjv72u2NgW6wQUpPFrNaEWLYWqr/7WHLrpDP1IB76ylPCLTqb/05myz0skNfMCqXVlvC0nhDf/ypnecEtxFcBAu838Zg5BTmfckhKN" +
  "+JFwY+2XadQJ4Bbj7YpdikOXHc9B1AP36wOOUmA/usxY4tZRRY5L4XCv7EFN9qlALxRREjMUFNFzupLMGOJe1XdgDenfyoUl4edsIGJLGJYX4tZm" +
  "LAarWoPLFTI2D2EyFQPbtAEjwofqCJqzv/Wla9a2IDbKttmNeFsb561PLvYYn9FjUohwOYj2nB0saRiEWDaA2Zv+YkwHWT7GqNhdfFgFQtSAtXFJ" +
  "m8tagoaIcI7XmxjwyGL70vLwMWcfDNgsPosW2MBjEJy9lRu6BFv7OFytwaCvH30wTYnfA7/fx3G4GI/5Qp2wHDm73Qf+CGofwZsfaz/5l7G/T/5V" +
  "WOSTxU/Hwkx2RVLLcG+KhSDLnTIpNb1S0PXcT++vxINVlpu2HDmFwLVqF+FWDyvaT4HYkrLVhk9OKNLXSfnZ1sJjfpm1K6ZetojahKdSJSO5GyC2" +
  "/x/0Y0gGIVVUWDOaR/iJM2NGI+UIm0DYfH68bZWScnfpSXC69AaxyLtQipXxeRBwr5/JAoYFq3/JMOdIJfvKKrWhpLI0pNV1HVUEfnRzcohsYVke" +
  "Ard8RE4GNKTT6X3X2BTYG8V7QkJbm9ppL/nlMtm7BmuLIXnl4QwvjXHYSD6y0j/AX869yY2Gu76ZsmyixiKEwL/D/MTwqjYrvvqHjUWNrC+WB8UZ" +
  "+zffjL+pfkPKxXTlSj9o9M1TPQdvHOUizYBIhozIcp6yRkNizVezzB7Y5SQlVBV3aIrVrhrAJWYmm/hFGkdTrKdLr+//Ln48Ygk7b8zb9QvSjAmy" +
  "Lbla6KqTDWI8PRqMXTk1M4xb9hNsrTxxogcB+NimWtLn6TxnrFEnrKop9jwgdYlfn34BSoBc6fT5yMAyBJgn65HzWfSCwW+94MV0WqqMj7KY2WW5" +
  "+SxsgDsVpelODw54tukMCjAyn6pDbHh0/o9qikDJK4YmP9L6+zn5hOWDjfctdhnTmo3o1d0ec1TWZoTigqTmaKjlCnZosETmeFOL0CwRQxB4xfSC" +
  "Ibt/alGtzL007/jdoH01bhfNeCBDyVYnUUE+QdSaC2BlJRPTsx6KG0myPf0by0wbgzGx9bcPOfIjONkvPUoGTfQg2uJfC86+fBWuhV78s7kS6xCc" +
  "Lslrr+6lBbXgrQ6H1wUnxLuOVxlkIcxE0obMNu45oj2BiyqB3BPRYavcRN5fjV61fhdKbImilkkmaiEepDIrtp6Qlgn4tfw8rFW+3NrJtithFm3q" +
  "Zrk5eX6cMvnA5q6aP2qah42wYeQcwQjCSuU1kU1ROwsR02RpTR37qXQa8tx0NtwGgBZgTConNuluk/PViBGXg40ZgwkKqtQMYVkWaLNdI2SX9zCn" +
  "gONzed1N6ilxgnBC64WPMmJf+57fr73/DYaEkLKkZrMmhgn2NaD+Rhc+fek+gk8RixFepMyoknRVj667biLgigOzX9ujaY3QZZMoUDpcsx5v1deA" +
  "QiHTYUQT0Nhr8aIsMNPxbF3bKypFFQTh",
), (character) => character.charCodeAt(0));
const half = (at) => (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];

export const GEAR_HIGH = Int32Array.from({ length: 256 }, (_, value) => half(6 * value));
export const GEAR_LOW = Int32Array.from({ length: 256 }, (_, value) => half(6 * value + 3));
