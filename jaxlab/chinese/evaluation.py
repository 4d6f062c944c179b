"""What an evaluation tells of a classification; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    'class': '类别',
    'rows': '样本数',
    'precision': '精确率',
    'recall': '召回率',
    'average precision': '平均精度',
    'note: {file} could not be written ({reason})': '注意：{file} 未能写入（{reason}）',
    'curves, calibration and the surest mistakes: {file}': '曲线、校准与最有把握的错误：{file}',
}
