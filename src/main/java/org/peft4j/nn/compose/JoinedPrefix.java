package org.peft4j.nn.compose;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.PrefixKeyValues;

/** Keys and values of several prefixes, in one softmax: their order says nothing. */
record JoinedPrefix(List<PrefixKeyValues> parts) implements PrefixKeyValues {
    JoinedPrefix {
        parts = List.copyOf(parts);
    }

    @Override
    public int count() {
        return parts.stream().mapToInt(KeyValueClaim::count).sum();
    }

    @Override
    public boolean shared() {
        return parts.stream().allMatch(KeyValueClaim::shared);
    }

    @Override
    public KeyValues keyValues(ForwardContext context) {
        List<KeyValues> all =
                parts.stream().map(part -> part.keyValues(context)).toList();
        return new KeyValues(
                joined(all.stream().map(KeyValues::keys).toList()),
                joined(all.stream().map(KeyValues::values).toList()));
    }

    private static Tensor joined(List<Tensor> parts) {
        TensorVector all = new TensorVector();
        parts.forEach(all::push_back);
        return torch.cat(all, 0);
    }
}
