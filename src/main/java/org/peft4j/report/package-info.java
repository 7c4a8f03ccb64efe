/** A run's page and pictures. */
@NullMarked
package org.peft4j.report;

import org.jspecify.annotations.NullMarked;
