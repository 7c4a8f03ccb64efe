/** BERT (Devlin et al. 2018), as transformers' {@code BertModel} and {@code BertForSequenceClassification}. */
@NullMarked
package org.peft4j.model.bert;

import org.jspecify.annotations.NullMarked;
