/** Backbones and heads: models as Hugging Face defines them, with its module paths, over packed sequences. */
@NullMarked
package org.peft4j.model;

import org.jspecify.annotations.NullMarked;
