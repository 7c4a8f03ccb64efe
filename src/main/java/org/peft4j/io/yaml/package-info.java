/** YAML as records, strictly: no key is passed over. */
@NullMarked
package org.peft4j.io.yaml;

import org.jspecify.annotations.NullMarked;
