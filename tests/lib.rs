//! Checks that span packages. Nothing lives here but tests: `architecture` compares the packages'
//! dependencies with the design; the lab, the scorer and the end-to-end checks are Python, beside
//! this file, because they may share no code with the product.
