package org.peft4j.method.spi;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/**
 * A method whose parameters stand in the place of tensors of the model. It says which; files with the tensors' own names, and merging,
 * are the same for all.
 *
 * @param <C> its settings
 */
public abstract class ReplacingMethod<C extends MethodConfig> implements Method<C> {
    /**
     * Claims the tensors of an adapter that is read.
     *
     * @param paths of the file's tensors
     * @param notes collects what a user should know
     */
    protected abstract Adapter.Builder claim(
            String name, C config, Points points, Collection<String> paths, List<String> notes);

    @Override
    public Adapter read(String name, C config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = claim(name, config, points, byPath.keySet(), notes);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        return PeftTensors.filled(builder.build(), file, byPath, ReplacingMethod::key, notes);
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, TensorData> fileTensors(C config, Adapter adapter) {
        return PeftTensors.of(adapter, ReplacingMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        return Merging.replacements(adapter);
    }
}
