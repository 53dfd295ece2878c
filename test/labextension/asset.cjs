// Stands in for style sheets and icons in tests.
module.exports = '<svg xmlns="http://www.w3.org/2000/svg"></svg>';
