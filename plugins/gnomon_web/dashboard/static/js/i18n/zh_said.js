// 简体中文: sentences of the server, by their codes
/** @type {Record<string, string>} */
export const zhSaid = {
  // Alerts
  'failed': '执行失败：{text}', 'failed_again': '连续失败 {count} 次：{text}',
  'lost': '执行中断：{text}', 'lost_again': '连续中断 {count} 次：{text}',
  'missed': '错过一次触发：{reason}', 'missed_again': '连续错过 {count} 次触发：{reason}',
  'late_start': '超过计划时间 {limit_s} 仍未开始', 'too_long': '已执行超过 {limit_s}；95% 的执行不超过 {usual_s}',
  'silent': '长时间没有任何动静', 'lingering': '执行已结束，但其代码又运行了 {limit_s}，仍占用槽位', 'several': '{count} 次执行：{what}',
  'no_success': '已有 {limit_s} 没有成功；上次成功于 {last_at}', 'no_success_yet': '已有 {limit_s} 没有成功；至今从未成功',
  'unscheduled': '不再触发：{text}',
  'store': '存储{state}：{text}', 'store_quiet': '存储{state}，原因不明', 'plugin': '插件{state}：{text}', 'plugin_behind': '插件{state}：落后 {lag} 个事件', 'part': '{text}',
};
