"""Writes small sets as TensorFlow Datasets prepares them, without TensorFlow: records, and what is known of them."""

import io
import json

import numpy as np
from PIL import Image

IMAGE = 'tensorflow_datasets.core.features.image_feature.Image'
TEXT = 'tensorflow_datasets.core.features.text_feature.Text'
LABEL = 'tensorflow_datasets.core.features.class_label_feature.ClassLabel'
NAMES = ('circle', 'cross', 'square')


def pictures(count, shape=(6, 5, 1), seed=0):
    """Returns [(uint8 [h w c], class), …], the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 256, shape, np.uint8), int(rng.integers(len(NAMES)))) for _ in range(count)]


def encoded(picture, form='PNG'):
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, form)
    return file.getvalue()


def image(shape, dtype='uint8'):
    """What features.json says of a feature of pictures."""
    dimensions = {'dimensions': [str(size) for size in shape]}
    return {'pythonClassName': IMAGE, 'image': {'shape': dimensions, 'dtype': dtype}}


def class_label(count=len(NAMES)):
    return {'pythonClassName': LABEL, 'classLabel': {'numClasses': str(count)}}


def text_features(*names, classes=len(NAMES)):
    """What features.json says of features of texts, and of a label."""
    text = {'pythonClassName': TEXT, 'text': {}}
    return {**dict.fromkeys(names, text), 'label': class_label(classes)}


def write_set(
    root, parts, name='shapes', version='1.0.0', features=None, names=NAMES, shards=2, module='shapes_code.shapes'
):
    """Writes a prepared set below `root`.

    Args:
      parts: {'train': [{'image': bytes, 'label': int}, …] or [(uint8 [h w c], class), …]}.

    Returns its folder.
    """
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / version
    folder.mkdir(parents=True)
    short = name.split('/')[0]
    splits = []
    for split, records in parts.items():
        lengths = []
        for shard, chosen in enumerate(np.array_split(np.arange(len(records)), shards)):
            file = folder / f'{short}-{split}.array_record-{shard:05}-of-{shards:05}'
            writer = ArrayRecordWriter(str(file), 'group_size:1')
            for number in chosen:
                record = records[number]
                if isinstance(record, tuple):
                    record = {'image': encoded(record[0]), 'label': record[1]}
                example = tf_example_pb2.Example()
                for key, value in record.items():
                    if isinstance(value, bytes):
                        example.features.feature[key].bytes_list.value.append(value)
                    else:
                        example.features.feature[key].int64_list.value.append(value)
                writer.write(example.SerializeToString())
            writer.close()
            lengths.append(str(len(chosen)))
        template = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
        splits.append({'name': split, 'shardLengths': lengths, 'numBytes': '1', 'filepathTemplate': template})
    info = {'name': short, 'version': version, 'fileFormat': 'array_record', 'moduleName': module, 'splits': splits}
    if '/' in name:
        info['configName'] = name.split('/')[1]
    (folder / 'dataset_info.json').write_text(json.dumps(info))
    features = features or {'image': image((6, 5, 1)), 'label': class_label()}
    whole = {
        'pythonClassName': 'tensorflow_datasets.core.features.features_dict.FeaturesDict',
        'featuresDict': {'features': features},
    }
    (folder / 'features.json').write_text(json.dumps(whole))
    if names:
        (folder / 'label.labels.txt').write_text('\n'.join(names) + '\n')
    return folder
